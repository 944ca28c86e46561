from __future__ import annotations

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.metrics import MetricsApi
from tsl.frontend.http_api.router import Route, Router


class Page:
    """Keeps what it is asked for."""

    def __init__(self):
        self.asked = []

    def page(self, names=()):
        self.asked.append(names)
        return b"# nothing\n"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ()),
        ("?name[]=a", ("a",)),
        ("?name%5B%5D=a&name[]=b", ("a", "b")),
        ("?name[]=", ()),
        ("?other=a", ()),
        ("?name[]=%zz", ("%zz",)),
    ],
)
def test_the_query_restricts_the_page(query, names):
    page = Page()
    router = Router([Route(path="/metrics", methods={"*": MetricsApi(page).metrics})])

    response = HttpPlay(context={"router": router}).feed(request(f"/metrics{query}")).response()

    assert page.asked == [names]
    assert response.body == b"# nothing\n"
    assert response.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
