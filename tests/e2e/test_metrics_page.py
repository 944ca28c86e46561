"""The metrics page of a server that has worked: as Prometheus and its tools want it."""

import pytest
import requests
from promlint import check_page, lint
from serving import eventually, workers

pytestmark = pytest.mark.e2e

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def scrape(server, accept=PROMETHEUS, query=""):
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    url = f"{server.record()['metrics']}/metrics{query}"
    return requests.get(url, headers=headers, timeout=10)


def test_a_page_is_whole_and_our_names_are_prometheus_s(server):
    server.properties["metrics_mode"] = "prometheus"
    for name in ("echo", "stream", "dying", "batch"):
        server.add(name, name, **workers(1))
    server.start()
    for name, body in [
        ("echo", b'a"b\\c'),
        ("stream", {"count": 3}),
        ("dying", b"raise"),
        ("dying", b"os_exit"),
        ("none", b"x"),
    ]:
        server.predict(name, body)

    def settled():
        text = scrape(server).text
        return text if "tsl_worker_restarts_total" in text and "CPUUtilization{" in text else None

    text = eventually(settled, "the page has everything", 20)

    families, problems = check_page(text)
    assert problems == []
    own = [family for name, family in families.items() if name.startswith("tsl_")]
    assert {"tsl_request_duration_seconds", "tsl_errors", "tsl_workers"} <= {f.name for f in own}
    assert [problem for family in own for problem in lint(family)] == []
    # TorchServe's names are as they are: no suffix was put on them.
    assert families["ts_inference_requests"].samples[0].name == "ts_inference_requests_total"
    assert "Requests2XX{" in text
    server.stop()


@pytest.mark.parametrize("accept", [PROMETHEUS, "application/openmetrics-text", "*/*", "text/html"])
def test_every_scraper_gets_the_text_format(server_with_metrics, accept):
    """OpenMetrics would put ``_total`` behind names of counters that dashboards know without."""
    answer = scrape(server_with_metrics, accept)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert check_page(answer.text)[1] == []


def test_a_choice_of_metrics_is_a_whole_page_too(server_with_metrics):
    text = scrape(server_with_metrics, query="?name[]=tsl_workers&name[]=tsl_none").text

    families, problems = check_page(text)
    assert (list(families), problems) == (["tsl_workers"], [])


@pytest.fixture(scope="module")
def server_with_metrics(tmp_path_factory):
    from serving import RunningServer

    running = RunningServer(tmp_path_factory.mktemp("metrics"))
    running.properties["metrics_mode"] = "prometheus"
    running.add("echo", "echo", **workers(1))
    try:
        yield running.start()
        running.stop()
    finally:
        running.close()
