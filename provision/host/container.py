"""A container of this machine as a host: the same protocol over an exec of the Docker engine."""

import contextlib
import shlex
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from provision.errors import Unreachable
from provision.host.target import Target
from provision.host.wire import SLICE, SocketWire, Wire
from provision.values import printable


class ContainerConnection:
    """Starts programs in a running container, by the Docker SDK."""

    def __init__(self, target: Target) -> None:
        """Look whether the container runs.

        Raises:
            Unreachable: it does not, or Docker cannot be asked.
        """
        import docker  # with requests: 0.2 s
        from docker.errors import DockerException

        self._target = target
        try:
            self._api = docker.from_env().api
        except DockerException as error:
            text = f"Docker on this machine cannot be asked: {printable(str(error), 200)}"
            raise Unreachable(target.name, text, "start it, or join the group docker") from error
        with self._translated():
            running = self._api.inspect_container(target.address)["State"]["Running"]
        if not running:
            raise Unreachable(target.name, f"the container {target.address} does not run", "docker start it")

    def open(self, command: Sequence[str]) -> Wire:
        """Start a program as the target's user, root where none is named.

        Raises:
            Unreachable: the engine refuses.
        """
        words = shlex.split(" ".join(command))
        with self._translated():
            user = self._target.user or "root"
            made = self._api.exec_create(self._target.address, words, stdin=True, user=user)
            stream: Any = self._api.exec_start(made["Id"], socket=True)
        # A reader of the socket, except with TLS.
        engine: socket.socket = getattr(stream, "_sock", stream)
        engine.settimeout(None)
        # The socket alone would lose what came in one packet with the header: http.client has read it into this buffer.
        frames: BinaryIO = stream._response.raw._fp.fp
        ours, theirs = socket.socketpair()
        threading.Thread(target=_from_engine, args=(frames, theirs), daemon=True).start()
        threading.Thread(target=_to_engine, args=(engine, theirs), daemon=True).start()
        return SocketWire(ours)

    def close(self) -> None:
        """End the connection to the engine; each program ends with its stream."""
        self._api.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from docker.errors import APIError, DockerException
        from requests import RequestException

        try:
            yield
        except APIError as error:
            raise Unreachable(self._target.name, printable(str(error.explanation or error), 200)) from error
        except (DockerException, RequestException) as error:
            text = f"the Docker engine does not answer: {printable(str(error), 200)}"
            raise Unreachable(self._target.name, text) from error


def _from_engine(frames: BinaryIO, theirs: socket.socket) -> None:
    """Frames: a byte that names the stream, three zeros, four bytes of length, the bytes."""
    with contextlib.suppress(OSError), frames:
        while len(head := frames.read(8)) == 8:
            theirs.sendall(frames.read(int.from_bytes(head[4:], "big")))
    with contextlib.suppress(OSError):
        theirs.shutdown(socket.SHUT_WR)


def _to_engine(engine: socket.socket, theirs: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := theirs.recv(SLICE):
            engine.sendall(data)
    with contextlib.suppress(OSError):
        engine.shutdown(socket.SHUT_WR)
