"""Ports of this machine that are no sshd: one that never says a word, one that never stops."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PIECE = b"garbage " * (1 << 17)


@contextmanager
def hanging() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with _serving(lambda connection: connection.recv(1)) as port:
        yield port


@contextmanager
def endless(size: int = 1 << 30) -> Iterator[int]:
    """A port that sends so many bytes of garbage, without an end of line."""

    def pour(connection: socket.socket) -> None:
        for _ in range(size // len(_PIECE)):
            connection.sendall(_PIECE)

    with _serving(pour) as port:
        yield port


@contextmanager
def _serving(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    open_ones: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            while talk(connection):
                pass
            connection.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in open_ones:
                connection.close()
