from __future__ import annotations

import asyncio
import json

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.operations import Operations
from tsl.protocol.errors import ModelNotFound


def play(work, *, close=False):
    """Run an operation for one request; returns the response."""
    stage = HttpPlay().feed(request("/task"))

    async def scenario():
        operations = Operations()
        operations.run(stage.exchanges[-1], work(stage.exchanges[-1]))
        await asyncio.sleep(0)
        if close:
            await operations.close()

    asyncio.run(scenario())
    return stage.response()


def test_the_work_answers():
    async def work(exchange):
        exchange.respond_json({"status": "done"})

    assert play(work).status == 200


async def _not_found(exchange):
    raise ModelNotFound("Model not found: m")


async def _bug(exchange):
    raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("work", "status", "word"),
    [(_not_found, 404, "Model not found: m"), (_bug, 500, "Internal error")],
)
def test_an_error_of_the_work_is_the_answer(work, status, word):
    response = play(work)

    assert response.status == status
    assert word in json.loads(response.body)["message"]
    assert b"secret" not in response.body


def test_what_is_given_up_is_answered():
    async def work(exchange):
        await asyncio.Event().wait()

    assert play(work, close=True).status == 503
