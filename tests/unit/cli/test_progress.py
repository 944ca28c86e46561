import io

import pytest

from tsl.cli.progress import MIN_TOTAL_BYTES, ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work(monkeypatch, stream, total):
    """Two stages of some work; patched here, as pytest sets stderr anew after fixtures."""
    monkeypatch.setattr("sys.stderr", stream)
    with ProgressLine() as progress:
        for stage in ("checking", "unpacking"):
            for quarter in range(1, 5):
                progress.show(stage, total * quarter // 4, total)
    return stream.getvalue()


def test_a_terminal_sees_a_bar_for_each_stage(monkeypatch):
    shown = work(monkeypatch, Terminal(), MIN_TOTAL_BYTES)

    assert "Checking" in shown
    assert "Unpacking" in shown
    assert shown.count("100%") == 2


@pytest.mark.parametrize(
    ("stream", "total"),
    [(Terminal(), MIN_TOTAL_BYTES - 1), (io.StringIO(), MIN_TOTAL_BYTES)],
    ids=["small work", "no terminal"],
)
def test_nothing_is_shown_when_nobody_would_read_it(monkeypatch, stream, total):
    assert work(monkeypatch, stream, total) == ""
