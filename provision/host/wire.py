"""A two-way stream of bytes to a program on a host, whatever carries it."""

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import paramiko

SLICE = 128 << 10
"""Bytes a send. `Channel.sendall` of more copies the rest again and again (paramiko#2659: 64 MB at 0.7 MB/s)."""


class Wire(Protocol):
    """Standard input and output of one remote program.

    Both directions raise `TimeoutError` after the time set by `patience`, and `OSError` when the stream is broken.
    """

    @property
    def socket(self) -> "socket.socket | paramiko.Channel":
        """The stream as a socket, for `http.client`."""

    def patience(self, seconds: float) -> None:
        """How long `send` and `receive` wait, in s."""

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""

    def receive(self, most: int = 1 << 20) -> bytes:
        """What has come, at least one byte; nothing at the end."""

    def complaint(self) -> str:
        """What the program wrote to its standard error, where that is a stream of its own."""

    def close(self) -> None:
        """End it. Harmless when repeated."""


class Connection(Protocol):
    """A way to a host, on which programs can be started."""

    def open(self, command: Sequence[str]) -> Wire:
        """Start a program as the login user. The words must be `portable`.

        Raises:
            OSError: it could not be started.
            HostError: the connection ended.
        """

    def close(self) -> None:
        """End the connection and all that runs on it."""


class ChannelWire:
    """A program on an SSH channel."""

    def __init__(self, channel: "paramiko.Channel") -> None:
        self.socket = channel

    def patience(self, seconds: float) -> None:
        """How long both directions wait, in s."""
        self.socket.settimeout(seconds)

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            view = view[self.socket.send(view[:SLICE].tobytes()) :]

    def receive(self, most: int = 1 << 20) -> bytes:
        """What has come; nothing at the end."""
        return self.socket.recv(most)

    def complaint(self) -> str:
        """What came on standard error."""
        parts = b""
        while self.socket.recv_stderr_ready() and len(parts) < 4096:
            parts += self.socket.recv_stderr(4096)
        return parts.decode("utf-8", "replace")

    def close(self) -> None:
        """End it."""
        self.socket.close()


class SocketWire:
    """A program whose standard input, output and error are one socket. `ended` is called after it is closed."""

    def __init__(self, sock: socket.socket, ended: Callable[[], None] = lambda: None) -> None:
        self.socket = sock
        self._ended = ended

    def patience(self, seconds: float) -> None:
        """How long both directions wait, in s."""
        self.socket.settimeout(seconds)

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def receive(self, most: int = 1 << 20) -> bytes:
        """What has come; nothing at the end."""
        try:
            return self.socket.recv(most)
        except ConnectionResetError:
            return b""

    def complaint(self) -> str:
        """What came on standard error."""
        return ""

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self._ended()
