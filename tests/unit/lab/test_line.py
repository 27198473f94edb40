"""The lab's lines: what is carried when one ends is ended, too, and nothing is said of it."""

import gc
import socket

import pytest

from tests.lab.line import lines


def test_a_line_ends_both_ends_of_what_it_carries_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with lines([server.getsockname()]) as [line]:
            near = socket.create_connection(("127.0.0.1", line.port), timeout=10)
            near.sendall(b"here")
            far, _ = server.accept()
            far.settimeout(10)
            assert far.recv(4) == b"here"
        with near, far:
            assert (near.recv(1), far.recv(1)) == (b"", b"")
    gc.collect()
    assert caplog.messages == []
