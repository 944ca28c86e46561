import zipfile

import pytest

from tsl.cli.archiver_compat import main

REQUIRED = ["--model-name", "m", "-v", "1.0", "--handler", "h.py"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").write_text("def handle(data, context): return data\n")
    return tmp_path


def test_an_archive_is_made_in_silence(folder, capsys):
    assert main(REQUIRED) == 0

    assert zipfile.ZipFile(folder / "m.mar").namelist() == ["MAR-INF/MANIFEST.json", "h.py"]
    assert capsys.readouterr() == ("", "")


def test_the_words_of_the_process_are_read(folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["torch-model-archiver", *REQUIRED])

    assert main() == 0
    assert (folder / "m.mar").exists()


def test_options_may_be_shortened_and_joined(folder):
    assert main(["--model-name=m", "-v1.0", "--hand", "h", "--export=out", "--archive=tgz"]) == 0

    assert (folder / "out" / "m.tar.gz").exists()


def test_the_call_of_mlflow_works(folder):
    for name in ("w.pt", "a", "b", "requirements.txt"):
        (folder / name).write_text(name)
    args = [
        *("--force", "--model-name", "m", "--version", "1.0", "--serialized-file", "w.pt"),
        *("--handler", "h.py", "--export-path", "store", "--extra-files", "a,b"),
        *("-r", "requirements.txt"),
    ]

    assert main(args) == main(args) == 0

    assert {"a", "b", "w.pt"} < set(zipfile.ZipFile(folder / "store" / "m.mar").namelist())


def test_what_cannot_be_packed_ends_with_1(capsys):
    assert main([*REQUIRED, "--serialized-file", "gone.pt"]) == 1
    assert capsys.readouterr().err == "Error: --serialized-file: there is no file gone.pt.\n"


def test_an_existing_archive_needs_force(capsys):
    main(REQUIRED)

    assert main(REQUIRED) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*REQUIRED, "-f"]) == 0


@pytest.mark.parametrize(
    "args",
    [["--model-name", "m", "--handler", "h"], [*REQUIRED, "--archive-format", "rar"]],
    ids=["no version", "unknown format"],
)
def test_a_wrong_command_line_ends_with_2(args):
    with pytest.raises(SystemExit) as caught:
        main(args)

    assert caught.value.code == 2
