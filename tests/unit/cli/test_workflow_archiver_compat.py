import zipfile

import pytest

from tsl.cli.workflow_archiver_compat import main

WORDS = ["--workflow-name", "w", "--spec-file", "spec.yaml", "--handler", "h.py"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").write_text("def pre(data, context): return data\n")
    (tmp_path / "spec.yaml").write_text("dag: {pre: []}\n")
    return tmp_path


def test_an_archive_is_made_in_silence(folder, capsys):
    assert main(WORDS) == 0

    assert "spec.yaml" in zipfile.ZipFile(folder / "w.war").namelist()
    assert capsys.readouterr() == ("", "")


def test_the_words_of_the_process_are_read(folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["torch-workflow-archiver", *WORDS])

    assert main() == 0
    assert (folder / "w.war").exists()


def test_options_may_be_shortened_and_joined(folder):
    (folder / "a.txt").write_text("a")

    words = ["--workflow-n=w", "--spec=spec.yaml", "--hand", "h.py", "--export=out"]

    assert main([*words, "--extra=a.txt"]) == 0

    assert "a.txt" in zipfile.ZipFile(folder / "out" / "w.war").namelist()


def test_an_existing_archive_needs_force(capsys):
    main(WORDS)

    assert main(WORDS) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*WORDS, "-f"]) == 0


def test_what_cannot_be_packed_ends_with_1(capsys):
    assert main([*WORDS, "--extra-files", "gone.txt"]) == 1
    assert (
        capsys.readouterr().err == "Error: --extra-files: there is no file or folder 'gone.txt'.\n"
    )


def test_what_the_server_would_refuse_is_told(folder, capsys):
    (folder / "spec.yaml").write_text("dag: {pre: [pre]}\n")

    assert main(WORDS) == 0
    assert "Self loop" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--workflow-name", "w"], [*WORDS, "--no-such"]])
def test_a_wrong_command_line_ends_with_2(words):
    with pytest.raises(SystemExit) as caught:
        main(words)

    assert caught.value.code == 2
