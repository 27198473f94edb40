"""The one door: a `Target` in, a `Session` out."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import BecomeError, HostError, SessionLost, Unreachable
from provision.host import shell as root_shell
from provision.host.become import start_as_root
from provision.host.container import ContainerConnection
from provision.host.jobs import Jobs
from provision.host.local import LocalConnection
from provision.host.lock import Lock
from provision.host.session import Answer, Session
from provision.host.shell import RootShell
from provision.host.target import Target
from provision.host.wire import Connection, Wire
from provision.resources.base import Job, Progress

if TYPE_CHECKING:
    import docker

REBOOT_TIMEOUT = 900.0
"""Seconds after which a host that was rebooted is given up: servers test gigabytes of memory before they boot."""

_REBOOT = "sync\nsystemctl reboot\n"
# degraded is up as well; where systemd does not answer there is nothing to wait for
_BOOTED = "timeout 170 systemctl is-system-running --wait >/dev/null 2>&1\n:\n"


def connect(target: Target) -> Session:
    """Log in and become root.

    Raises:
        Unreachable: no connection, host key not trusted, login refused.
        BecomeError: logged in, but not root.
        InputError: a secret cannot be had.
    """
    return RootSession(target, _connection(target))


def load(kinds: Collection[str]) -> None:
    """Load what connections of these kinds (`Target.kind`) need, instead of with the first of them."""
    if "ssh" in kinds:
        import provision.host.ssh  # noqa: F401  (paramiko: 0.15 s)
    if "docker" in kinds:
        import docker  # noqa: F401  (with requests: 0.2 s)


def _connection(target: Target) -> Connection:
    if target.kind == "local":
        return LocalConnection()
    if target.kind == "docker":
        return ContainerConnection(target)
    from provision.host.ssh import SshConnection  # paramiko: 0.15 s

    return SshConnection(target)


class RootSession:
    """A `Session`: one connection, one root shell on it, and what else is opened later."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self.name = target.name
        self.target = target
        self._owner = ""
        self._attach(connection)

    def _attach(self, connection: Connection) -> None:
        """One root shell on a connection that was made just now."""
        with ExitStack() as undo:
            undo.callback(connection.close)
            self._shell = RootShell(self.target, connection)
            undo.pop_all()
        self._connection = connection
        self._jobs = Jobs(self._shell)
        self._lock = Lock(self._shell)
        self._docker: docker.DockerClient | None = None

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

    def job(self, job: Job, progress: Callable[[Progress], None] | None = None) -> Answer:
        """See `Session.job`; what happens on a stall, a failure and at the end of the time: `Jobs.do`."""
        return self._jobs.do(job, progress)

    def jobs(self) -> list[str]:
        """See `Session.jobs`."""
        return self._jobs.running()

    def lock(self, owner: str) -> None:
        """See `Session.lock`."""
        self._lock.take(owner)
        self._owner = owner

    def reboot(self, progress: Callable[[str], None]) -> None:
        """See `Session.reboot`."""
        if self.target.kind == "local":
            raise HostError(self.name, "it must be rebooted, and runs this program", "reboot it, then run again")
        before, held = self._boot_id(), self._lock.held
        with suppress(SessionLost):
            self._shell.run(_REBOOT, 30.0, None, 1 << 16)
        self._disconnect()
        deadline = time.monotonic() + REBOOT_TIMEOUT
        while not self._came_back(before):
            if time.monotonic() > deadline:
                raise HostError(self.name, f"does not come back from its reboot within {REBOOT_TIMEOUT / 60:.0f} min")
            progress("waiting for the host to come back")
            time.sleep(1.0)
        progress("waiting for the host's services")
        with suppress(SessionLost):
            self._shell.run(_BOOTED, 180.0, None, 1 << 16)
        if held:
            self._lock.take(self._owner)

    def _came_back(self, before: str) -> bool:
        """Whether another boot than `before` answers; the session is on it then. sshd may answer while it goes down."""
        try:
            self._attach(_connection(self.target))
        except (Unreachable, BecomeError, SessionLost):
            return False
        try:
            if self._boot_id() not in ("", before):
                return True
        except SessionLost:
            pass
        self._disconnect()
        return False

    def _boot_id(self) -> str:
        return self._shell.run("cat /proc/sys/kernel/random/boot_id\n", 30.0, None, 4096).text.strip()

    def docker(self) -> "docker.DockerClient":
        """See `Session.docker`.

        Raises:
            HostError: Docker's client is not installed on the host, or no engine answers.
        """
        if self._docker is None:
            from provision.host.dockerd import docker_client  # requests and docker: 0.2 s

            self._docker = docker_client(self.name, self._dial_docker, over_ssh=self.target.kind == "ssh")
        return self._docker

    def close(self) -> None:
        """See `Session.close`. Returns when the host's lock is free again, if it was held."""
        self._disconnect(wait=3.0 if self._lock.held else 0.0)

    def _disconnect(self, wait: float = 0.0) -> None:
        self._lock.release()
        if self._docker is not None:
            self._docker.close()
            self._docker = None
        self._shell.close(wait=wait)
        self._connection.close()

    def _dial_docker(self) -> Wire:
        from provision.host.dockerd import PROGRAM

        return start_as_root(self.target, self._connection, PROGRAM).wire
