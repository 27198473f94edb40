"""What a resource is: a frozen dataclass that says what should be. No I/O here, and no scheduling.

The engine joins the probes of all resources of a host into one script, gives each resource its own section of the
answer (`observe`), asks it for a `Change` (`plan`) and executes the steps of the changes (`steps`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from provision.dataclass import dataclass

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class Section:
    """What one resource's probe printed. `out` is bounded by the engine (1 MiB a section)."""

    rc: int
    out: bytes
    err: bytes = b""

    @property
    def text(self) -> str:
        """`out` as UTF-8; bytes that are not are replaced."""
        return self.out.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """The lines of `text`."""
        return self.text.splitlines()


class Together(str):
    """A probe that works alone like any other, and costs less when many of its type and `key` are asked at once."""

    key: str = ""

    @classmethod
    def prepare(cls, asked: "Sequence[Together]") -> str:
        """A fragment that finds out for all of them what a process for each would cost much for."""
        raise NotImplementedError

    def shared(self) -> str:
        """What prints this one's answer after `prepare`, in the same shell: it must not `exit`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Diff:
    """Two texts to compare for a reader. Secrets in them are elided before they come here."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """What is to be done for one resource, as data that can be printed and stored.

    Args:
        resource: the resource's id.
        action: a verb for the reader: `create`, `update`, `start`, `restart`, `pull`, `install`, `remove`, ...
        why: the reason, one line: `version 0.9.3 -> 0.9.4`.
        before: field -> what is there (JSON values, secrets elided).
        after: field -> what will be.
        diffs: texts for `--diff`.
        download: bytes that will come over the network, where known.
        reload: what runs takes it over by a reload; for what is not so marked it must start anew.
        uncertain: it depends on an earlier change ("unknown until X is applied"); the engine asks again at its turn.
        private: what `steps` needs and no output may show. Not stored, not printed.
    """

    resource: str
    action: str
    why: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    diffs: tuple[Diff, ...] = ()
    download: int | None = None
    reload: bool = False
    uncertain: bool = False
    private: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Run:
    """Run a POSIX sh script as root. A status other than 0 fails the resource with the last line of stderr.

    `secrets` name -> value are exported to the script as variables; they never stand in it.
    Runs that follow each other travel in one request.
    """

    script: str
    timeout: float = 60.0
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Upload:
    """Put bytes, or a file of the control machine, at `path` (0600 root, a temporary place); later steps use it."""

    path: str
    content: bytes | Path = field(repr=False)
    sha256: str | None = None


@dataclass(frozen=True)
class Job:
    """Long work that outlives the connection: `systemd-run` on the host, polled. The same name is rejoined.

    Args:
        name: `[a-z0-9-]+`, the unit becomes `provision-<name>`.
        script: POSIX sh.
        progress: turns each complete line of the log into `Progress` or None; it raises `ValueError(message)` when
            a line says that the work failed (an error inside HTTP 200).
        stall: seconds without new output after which the job is ended and `retries` more attempts are made.
        secrets: name -> value, exported to the script from a 0600 file.
    """

    name: str
    script: str
    progress: "Callable[[str], Progress | None] | None" = None
    timeout: float = 3600.0
    stall: float | None = None
    retries: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Docker:
    """Call the Docker engine of the host by the docker SDK. `call` gets a client and returns nothing."""

    call: "Callable[[docker.DockerClient], None]"
    what: str = ""


@dataclass(frozen=True)
class Reboot:
    """Reboot the host and come back: done when it runs another boot. `why` is for the reader."""

    why: str


Step: TypeAlias = Run | Upload | Job | Docker | Reboot


@dataclass(frozen=True)
class Progress:
    """How far a job is. `done` and `total` in bytes where `total` is known."""

    text: str
    done: int = 0
    total: int = 0


class Pending:
    """What earlier resources of the same plan will change: id -> Change. Read by `plan`."""

    def __init__(self, changes: Mapping[str, Change] | None = None) -> None:
        self.changes: dict[str, Change] = dict(changes or {})

    def any(self, *resources: "Resource | str") -> Change | None:
        """The first of these resources that will change, or None."""
        for resource in resources:
            name = resource if isinstance(resource, str) else resource.id
            if change := self.changes.get(name):
                return change
        return None


@runtime_checkable
class Resource(Protocol):
    """What every resource can do. All four are pure.

    Beside them a resource may have `owned` (False: nothing of it stays on the host), `remark(observed)` (a line about
    what it cannot bring about by itself, or "") and `redefines` (True: after a change of it the host may be another
    one to its roles, which are asked again).
    """

    @property
    def id(self) -> str:
        """`kind:name`, unique on a host: `file:/etc/hosts`."""

    def probe(self) -> str:
        """A read-only POSIX sh fragment. It runs as root in a subshell with no stdin; tools may be missing."""

    def observe(self, section: Section) -> Any:
        """What is there, as a value of the resource's own type.

        Raises:
            ValueError: the section cannot be understood.
        """

    def plan(self, observed: Any, pending: Pending) -> Change | None:
        """What is to be done; None when nothing is."""

    def steps(self, change: Change) -> Iterator[Step]:
        """How it is done, in order."""
