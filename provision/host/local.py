"""This machine as a host: the same protocol over a socket pair instead of an SSH channel."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Sequence

from provision.host.wire import SocketWire, Wire

_END_WAIT = 1.0


def spawn(argv: Sequence[str], *, stderr: int | None = None) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    """Start a program whose standard input and output are the other end of the returned socket.

    It gets a process group of its own, so that Ctrl-C at the terminal reaches the program only through us, but it
    keeps the terminal: sudo looks up its cached ticket by it.

    Raises:
        OSError: it could not be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            child = subprocess.Popen(
                argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=stderr, process_group=0
            )
        except OSError:
            ours.close()
            raise
    return ours, child


def reap(child: "subprocess.Popen[bytes]") -> None:
    """Wait for a program whose stream was closed; end it if it stays."""
    try:
        child.wait(_END_WAIT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGTERM)


class LocalConnection:
    """Starts programs on this machine."""

    def open(self, command: Sequence[str]) -> Wire:
        """Start a program; its words are quoted already."""
        ours, child = spawn(shlex.split(" ".join(command)), stderr=subprocess.STDOUT)
        return SocketWire(ours, lambda: reap(child))

    def close(self) -> None:
        """Nothing: each program ends with its stream."""
