import json
import tempfile
import zipfile

import pytest
from click.testing import CliRunner

from tsl.cli.archive_reading import inspect_command, printable, verify_command


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Write an archive; temporary folders are below the test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def write(files, **members):
        model = {"modelName": "m", "modelVersion": "1.0", "handler": "h.py", **members}
        with zipfile.ZipFile(tmp_path / "m.mar", "w") as file:
            file.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
            for name, content in files.items():
                file.writestr(name, content)
        return tmp_path / "m.mar"

    return write


def run(command, path):
    return CliRunner().invoke(command, [str(path)], standalone_mode=False)


def test_inspect_shows_everything(archive):
    path = archive(
        {
            "h.py": b"import torch\n",
            "w.pt": b"\x80\x02ccollections\nOrderedDict\n)R.",
            "other.pt": b"\x80\x02cos\nsystem\n.",
            "c.yaml": b"batchSize: 4\n",
        },
        configFile="c.yaml",
        serializedFile="w.pt",
    )

    result = run(inspect_command, path)

    assert result.return_value == 0
    with zipfile.ZipFile(path) as file:
        manifest = json.dumps(json.loads(file.read("MAR-INF/MANIFEST.json")), indent=2)
        sizes = {info.filename: info.file_size for info in file.infolist()}
    assert result.stdout.splitlines() == [
        "model     m 1.0",
        "handler   h.py (in h.py)",
        "runtime   python",
        "torch     needed by h.py",
        "weights   other.pt: pickle; loading it runs os.system",
        "weights   w.pt: pickle of tensors only",
        "manifest",
        *(f"  {line}" for line in manifest.splitlines()),
        "settings  c.yaml",
        "  batchSize: 4",
        f"files     5, {sum(sizes.values())} bytes",
        *(f"  {size:>12}  {name}" for name, size in sorted(sizes.items())),
    ]


@pytest.mark.parametrize(
    ("handler", "shown"),
    [
        (None, "(none)"),
        ("gone.py", "gone.py (missing)"),
        ("image_classifier", "image_classifier (built in)"),
    ],
)
def test_inspect_says_where_the_handler_is(archive, handler, shown):
    result = run(inspect_command, archive({"x": b""}, handler=handler))

    assert f"handler   {shown}\n" in result.stdout


def test_verify_lists_all_problems(archive):
    path = archive({"h.py": b"def ("}, serializedFile="w.pt")

    result = run(verify_command, path)

    assert result.return_value == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: ") for line in lines)


@pytest.mark.parametrize("command", [inspect_command, verify_command])
def test_an_archive_that_leads_out_is_refused(archive, command):
    result = run(command, archive({"../escaped": b""}))

    assert result.return_value == 1
    assert "outside of the model" in result.stderr


@pytest.mark.parametrize("command", [inspect_command, verify_command])
def test_a_file_that_is_no_archive_is_refused(tmp_path, command):
    (tmp_path / "m.txt").write_text("no archive")

    result = run(command, tmp_path / "m.txt")

    assert result.return_value == 1
    assert "is neither a zip nor a tar.gz file" in result.stderr


@pytest.mark.parametrize("command", [inspect_command, verify_command])
def test_a_missing_file_is_reported(tmp_path, command):
    result = run(command, tmp_path / "gone.mar")

    assert result.return_value == 1
    assert result.stderr == f"{tmp_path / 'gone.mar'}: No such file or directory\n"


@pytest.mark.parametrize("command", [inspect_command, verify_command])
def test_a_folder_is_read_in_place(tmp_path, command):
    (tmp_path / "MAR-INF").mkdir()
    model = {"modelName": "m", "handler": "h"}
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": model}))
    (tmp_path / "h.py").write_text("")

    assert run(command, tmp_path).return_value == 0


@pytest.mark.parametrize("command", [inspect_command, verify_command])
def test_nothing_stays_unpacked(archive, tmp_path, command):
    run(command, archive({"h.py": b""}))

    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_archive_cannot_command_the_terminal(archive):
    path = archive({"h.py": b"", "\x1b[2Jname": b""}, modelVersion="1\x1b]0;title\x07")

    result = run(inspect_command, path)

    assert result.return_value == 0
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout
    assert "\\x1b[2Jname" in result.stdout


@pytest.mark.parametrize(
    ("text", "shown"), [("plain ü 中", "plain ü 中"), ("\x1b\n\u202e", "\\x1b\\n\\u202e")]
)
def test_what_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown
