"""The names of the original's package, and that they pack."""

import importlib
import json
import logging
import zipfile
from dataclasses import fields

import pytest

from model_archiver import ModelArchiver, ModelArchiverConfig
from model_archiver.arg_parser import ArgParser
from model_archiver.manifest_components.manifest import RuntimeType
from model_archiver.model_archiver_error import ModelArchiverError
from model_archiver.model_packaging import generate_model_archive

NAMES = {
    "model_archiver": ["ModelArchiver", "ModelArchiverConfig", "__version__"],
    "model_archiver.arg_parser": ["ArgParser"],
    "model_archiver.manifest_components.manifest": ["Manifest", "RuntimeType"],
    "model_archiver.manifest_components.model": ["Model"],
    "model_archiver.model_archiver": ["ModelArchiver"],
    "model_archiver.model_archiver_config": ["ModelArchiverConfig"],
    "model_archiver.model_archiver_error": ["ModelArchiverError"],
    "model_archiver.model_packaging": ["generate_model_archive", "package_model"],
    "model_archiver.model_packaging_utils": [
        "MANIFEST_FILE_NAME",
        "MAR_INF",
        "MODEL_ARCHIVE_VERSION",
        "MODEL_SERVER_VERSION",
        "ModelExportUtils",
        "archiving_options",
        "model_handlers",
        "zipfile",
    ],
    "model_archiver.version": ["__version__"],
}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").write_text("def handle(data, context): return data\n")
    return ModelArchiverConfig(
        model_name="m",
        handler="h.py",
        version="1.0",
        runtime=RuntimeType.PYTHON3.value,
        export_path=str(tmp_path / "out"),
    )


@pytest.mark.parametrize("module", NAMES)
def test_the_original_s_names_are_there(module):
    found = importlib.import_module(module)

    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("generate", [ModelArchiver.generate_model_archive, generate_model_archive])
def test_a_configuration_is_packed(config, tmp_path, generate):
    generate(config)

    with zipfile.ZipFile(tmp_path / "out" / "m.mar") as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert manifest["runtime"] == "python3"
    assert manifest["model"] == {"modelName": "m", "handler": "h.py", "modelVersion": "1.0"}


def test_without_a_configuration_the_command_line_is_read(config, tmp_path, monkeypatch):
    args = ["x", "--model-name", "m", "-v", "1", "--handler", "h", "--archive-format", "tgz"]
    monkeypatch.setattr("sys.argv", args)

    generate_model_archive()

    assert (tmp_path / "m.tar.gz").exists()


def test_all_options_become_attributes(tmp_path):
    values = {each.name: f"of {each.name}" for each in fields(ModelArchiverConfig)}
    values |= {"runtime": "LSP", "archive_format": "tgz"}
    del values["force"]
    args = ["--force"]
    for name, value in values.items():
        args += [f"--{name.replace('_', '-')}", value]

    config = ModelArchiverConfig.from_args(ArgParser.export_model_args_parser().parse_args(args))

    assert config == ModelArchiverConfig(**values, force=True)


def test_archives_are_exported_to_the_working_folder(config, tmp_path):
    assert ModelArchiverConfig("m", "h", "1").export_path == str(tmp_path)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("model_name", "a b", "--model-name"),
        ("handler", "gone", r"gone\.py"),
        ("archive_format", "rar", "archive_format must be one of tgz, no-archive"),
    ],
)
def test_mistakes_raise_the_original_s_error(config, attribute, value, message):
    setattr(config, attribute, value)

    with pytest.raises(ModelArchiverError, match=message):
        ModelArchiver.generate_model_archive(config)


def test_warnings_are_logged(config, caplog):
    config.extra_files = "no*such"

    with caplog.at_level(logging.WARNING, "tsl.model_store.archiver"):
        ModelArchiver.generate_model_archive(config)

    assert "nothing matches 'no*such'" in caplog.text
