"""The pages under docs/ do what they say, and their tables say what the code says."""

import re
import shutil

import pytest
from documents import ROOT, Terminal, blocks_of, matches, steps_of

from tsl.protocol import workflow_errors
from tsl.protocol.errors import TslError

DOCS = ROOT / "docs"
RUNNABLE = sorted(page for page in DOCS.glob("*.md") if blocks_of(page))
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]

_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_CODE = re.compile(r"```.*?^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`(?:[\w.]+/)*([\w]+\.py)`")
_NEVER_ANSWERED = {"error", "handler_error", "node_error", "prediction_error"}


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_examples_of_a_page_work(page, tmp_path):
    terminal = Terminal(tmp_path)

    try:
        terminal.play(page)
    finally:
        terminal.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page):
    text = _CODE.sub("", page.read_text(encoding="utf-8"))

    missing = [
        target for target in _LINK.findall(text) if not (page.parent / target).resolve().exists()
    ]

    assert missing == []


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")

    linked = {target.partition("#")[0] for target in _LINK.findall(index)}

    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


def test_the_table_of_errors_is_that_of_the_code():
    text = (DOCS / "http.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .*? \| (\d{3}) \| (\d{3}) \| `(\w+)` \|$", text, re.MULTILINE)
    shown = {(int(usual), int(standard), name) for usual, standard, name in rows}

    answered = {
        (each.http_status, each.standard_status or each.http_status, each.type_name)
        for each in {*_all_errors(TslError), *_all_errors(workflow_errors.NodeError)}
        if each.code not in _NEVER_ANSWERED
    }

    assert shown == answered


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/decisions.md", "CONTRIBUTING.md"])
def test_files_that_a_page_names_exist(page):
    names = set(_FILE.findall((ROOT / page).read_text(encoding="utf-8")))

    missing = {name for name in names if not any(ROOT.glob(f"[!.]*/**/{name}"))}

    assert names
    assert missing == set()


def _all_errors(root):
    for each in root.__subclasses__():
        yield each
        yield from _all_errors(each)


# -- the tool itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "printed", "is_match"),
    [
        ("a\nb\n", "a\nb", True),
        ("a\nb\n", "a\nc", False),
        ("a ... z", "a b\nc z", True),
        ("0.25 cats", "0.31 cats", True),
        ("0.25 cats", "0.31 dogs", False),
        ("a", "a\nb", False),
        ("", "something", False),
    ],
)
def test_output_is_compared_with_what_the_page_shows(expected, printed, is_match):
    assert matches(expected, printed) is is_match


def test_a_run_block_is_commands_and_their_output():
    steps = steps_of("$ one \\\n  more\nout\nput\n$ two\n")

    assert steps == [("one \\\n  more", "out\nput\n"), ("two", "")]
