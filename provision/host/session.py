"""What the rest of the program knows of a host that it reached: run as root, upload, run a job, reach Docker."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from provision.dataclass import dataclass
from provision.errors import HostError

if TYPE_CHECKING:
    import docker

    from provision.resources.base import Job, Progress


@dataclass(frozen=True)
class Answer:
    """A script's exit status and its two outputs. `truncated` when a bound was reached."""

    rc: int
    out: bytes
    err: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """`out` as UTF-8; bytes that are not are replaced."""
        return self.out.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """The last line of `err` that says something, for a message."""
        lines = [line for line in self.err.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit status {self.rc}"


class Session(Protocol):
    """One connection to one host, and one root shell on it. Not for use by two threads at once.

    Every method raises `SessionLost` when the connection ends or `timeout` seconds pass.
    """

    name: str

    @property
    def requests(self) -> int:
        """Requests to the root shell so far."""

    def run(
        self,
        script: str,
        *,
        timeout: float = 60.0,
        secrets: Mapping[str, str] | None = None,
        limit: int = 8 << 20,
    ) -> Answer:
        """Run a POSIX sh script as root with no stdin; at most `limit` bytes of each output come back.

        `secrets` are exported to the script as variables and stand in no file that outlives it and in no argv.
        """

    def upload(
        self,
        path: str,
        content: bytes | Path,
        *,
        sha256: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Write bytes or a local file to `path` (0600, root), compare its digest on the host.

        Raises:
            HostError: the digest differs or the disk is full; nothing is left at `path`.
        """

    def job(self, job: "Job", progress: "Callable[[Progress], None] | None" = None) -> Answer:
        """Start the job, or rejoin one of the same name, and wait for its end. `out` is the end of its log."""

    def jobs(self) -> list[str]:
        """Names of our jobs that run now."""

    def lock(self, owner: str) -> None:
        """Take the host's lock for as long as the session lives.

        Raises:
            HostRefused: somebody else holds it; the message says who and since when.
        """

    def reboot(self, progress: Callable[[str], None]) -> None:
        """Reboot the host and connect again; returns when another boot has come up. The lock, if held, is taken again.

        Args:
            progress: called about once a second; what it raises ends the waiting.

        Raises:
            HostError: it is this machine, or it does not come back.
            HostRefused: somebody else took the lock meanwhile.
        """

    def docker(self) -> "docker.DockerClient":
        """A client of the host's Docker engine over this connection. Made once."""

    def close(self) -> None:
        """End the root shell and the connection."""


@contextlib.contextmanager
def closing(close: Callable[[], None]) -> Iterator[None]:
    """Close at the end; a host that does not let go is no failure of the run."""
    try:
        yield
    finally:
        with contextlib.suppress(HostError, OSError):
            close()
