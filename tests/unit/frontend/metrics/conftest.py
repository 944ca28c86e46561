"""A board in each mode, and where its lines go."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tsl.frontend.host import HOSTNAME
from tsl.frontend.metrics.board import Board
from tsl.frontend.metrics.definitions import built_in


class Lines:
    """Takes lines; shows them without this machine's name."""

    def __init__(self):
        self.added = []

    def add(self, text):
        self.added.append(text.decode().replace(HOSTNAME, "vm"))

    def take(self):
        taken, self.added = self.added, []
        return taken


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def new_board(lines):
    def make(mode="prometheus", definitions=None, **options):
        return Board(definitions or built_in(), mode, lines.add, **options)

    return make


@pytest.fixture
def samples():
    """Sample lines of a board's page without this machine's name; the page must be readable."""

    def read(board, *names):
        text = board.page(names).decode()
        list(text_string_to_metric_families(text))  # raises where Prometheus would complain
        return [
            line.replace(f'ostname="{HOSTNAME}"', 'ostname="vm"')
            for line in text.splitlines()
            if not line.startswith("#")
        ]

    return read
