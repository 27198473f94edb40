"""Ports of this machine."""

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def free_and_open() -> Iterator[tuple[int, int]]:
    """A port that nobody listens on, and one whose listener says nothing."""
    with socket.socket() as free, socket.socket() as listener:
        free.bind(("127.0.0.1", 0))
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield free.getsockname()[1], listener.getsockname()[1]
