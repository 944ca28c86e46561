"""TorchServe's own package is installed in the same environment: tsl says so, and serves."""

import pytest
from serving import workers

pytestmark = pytest.mark.e2e


@pytest.fixture
def beside(server, tmp_path):
    """A server whose environment has another package ``ts`` in front of tsl's, and broken at that.

    That is what is left when one distribution has overwritten half of the other's files.
    """
    site = tmp_path / "site"
    (site / "torchserve-0.12.0.dist-info").mkdir(parents=True)
    (site / "torchserve-0.12.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchserve\nVersion: 0.12.0\n"
    )
    for name in ("ts", "ts/torch_handler", "ts/handler_utils"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("from ts.arg_parser import ArgParser\n")
    server.environ["PYTHONPATH"] = str(site)
    server.site = site
    return server


def test_workers_use_our_names_whatever_lies_beside(beside):
    beside.add("forked", "which_ts", **workers(1))
    beside.add("spawned", "which_ts", **workers(1, workerStart="spawn"))
    beside.add("torch", "which_base", **workers(1))

    beside.start()

    answers = [beside.predict(name).text for name in ("forked", "spawned")]
    assert [str(beside.site) in answer for answer in answers] == [False, False]
    assert answers[0] == answers[1]
    assert beside.predict("torch").text == "tsl.backend.handlers.base_handler"
    lines = [line for line in beside.output().splitlines() if "installed beside tsl" in line]
    assert len(lines) == 1
    assert "[WARN ]" in lines[0]
    assert "torchserve 0.12.0 is installed beside tsl" in lines[0]
    assert "ArgParser" not in beside.output()
    beside.stop()
