"""The one door: a `Target` in, a `Session` out."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from provision.host import shell as root_shell
from provision.host.local import LocalConnection
from provision.host.session import Answer
from provision.host.shell import RootShell
from provision.host.target import Target
from provision.host.wire import Connection

if TYPE_CHECKING:
    pass


def connect(target: Target) -> "RootSession":
    """Log in and become root.

    Raises:
        Unreachable: no connection, host key not trusted, login refused.
        BecomeError: logged in, but not root.
        InputError: a secret cannot be had.
    """
    connection = _connection(target)
    with ExitStack() as undo:
        undo.callback(connection.close)
        session = RootSession(target, connection)
        undo.pop_all()
        return session


def _connection(target: Target) -> Connection:
    if target.kind == "local":
        return LocalConnection()
    from provision.host.ssh import SshConnection  # paramiko: 0.15 s

    return SshConnection(target)


class RootSession:
    """A `Session`: one connection, one root shell on it, and what else is opened later."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self.name = target.name
        self.target = target
        self._connection = connection
        self._shell = RootShell(target, connection)

    @property
    def requests(self) -> int:
        """Requests to the root shell so far."""
        return self._shell.requests

    @property
    def traffic(self) -> int:
        """Bytes through the root shell so far, both ways."""
        return self._shell.traffic

    def run(
        self,
        script: str,
        *,
        timeout: float = 60.0,
        secrets: Mapping[str, str] | None = None,
        limit: int = 8 << 20,
    ) -> Answer:
        """See `Session.run`."""
        return self._shell.run(script, timeout, secrets, limit)

    def upload(
        self,
        path: str,
        content: bytes | Path,
        *,
        sha256: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """See `Session.upload`."""
        root_shell.upload(self._shell, path, content, sha256, progress)
