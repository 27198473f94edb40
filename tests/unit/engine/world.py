"""A small world for the engine: resources that are files below a directory, and a session that runs `sh` there."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.engine.apply import Applied, HostApply
from provision.engine.events import Event
from provision.engine.plan import Declared
from provision.errors import HostError, HostRefused, SessionLost
from provision.host.session import Answer
from provision.resources.base import Change, Diff, Job, Pending, Progress, Resource, Run, Section, Step, Upload
from provision.values import quote

if TYPE_CHECKING:
    import docker

FOLDER = "/var/lib/provision"


class ShSession:
    """Runs scripts by the real `sh`; what would go to /var/lib/provision goes below `root`."""

    def __init__(self, root: Path) -> None:
        self.name = "here"
        self.root = root
        self.requests = 0
        self.reboots = 0
        self.scripts: list[str] = []
        self.owner: str | None = None
        self.holder: str | None = None
        self.left_jobs: list[str] = []
        self.lose_at: int | None = None
        self.answer: Answer | None = None
        self.before: Callable[[], None] = lambda: None

    def run(
        self,
        script: str,
        *,
        timeout: float = 60.0,
        secrets: Mapping[str, str] | None = None,
        limit: int = 8 << 20,
    ) -> Answer:
        self.before()
        self.requests += 1
        self.scripts.append(script)
        if self.requests == self.lose_at:
            raise SessionLost(self.name, "the connection ended")
        if self.answer:
            return self.answer
        ran = subprocess.run(
            ["sh", "-c", script.replace(FOLDER, str(self.root / "state"))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | dict(secrets or {}),
            timeout=timeout,
            check=False,
        )
        return Answer(ran.returncode, ran.stdout[:limit], ran.stderr[:limit])

    def upload(
        self,
        path: str,
        content: bytes | Path,
        *,
        sha256: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        data = content.read_bytes() if isinstance(content, Path) else content
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise HostError(self.name, "the digest differs")
        if progress:
            progress(len(data), len(data))
        Path(path).write_bytes(data)

    def job(self, job: Job, progress: Callable[[Progress], None] | None = None) -> Answer:
        if progress:
            progress(Progress("working", 1, 2))
        if job.name in self.left_jobs:
            self.left_jobs.remove(job.name)
            return Answer(0, b"", b"")
        answer = self.run(job.script, secrets=job.secrets)
        if job.progress:
            for line in answer.text.splitlines():
                job.progress(line)
        return answer

    def jobs(self) -> list[str]:
        return list(self.left_jobs)

    def lock(self, owner: str) -> None:
        if self.holder:
            raise HostRefused(self.name, f"another run holds the lock: {self.holder}")
        self.owner = owner

    def reboot(self, progress: Callable[[str], None]) -> None:
        progress("waiting")
        self.reboots += 1

    def docker(self) -> "docker.DockerClient":
        raise HostError(self.name, "there is no Docker here")

    def close(self) -> None:
        pass


Steps = Callable[["Letter"], Iterator[Step]]


def put(letter: "Letter") -> Iterator[Step]:
    """Write the file."""
    yield Run(f"printf %s {quote(letter.text)} >{quote(letter.path)}")


@dataclass(frozen=True)
class Letter:
    """A file with a text. `work` says how it is made so; `after`: uncertain while these change."""

    path: str
    text: str = "text"
    work: Steps = field(default=put, compare=False)
    after: tuple[Resource, ...] = ()
    owned: bool = True

    @property
    def id(self) -> str:
        return f"letter:{Path(self.path).name}"

    def probe(self) -> str:
        return f"cat {quote(self.path)} 2>/dev/null || exit 4\n"

    def observe(self, section: Section) -> str | None:
        if section.text == "garbled":
            raise ValueError("garbled")
        return None if section.rc else section.text

    def plan(self, observed: str | None, pending: Pending) -> Change | None:
        if earlier := pending.any(*self.after):
            return Change(self.id, "update", f"unknown until {earlier.resource} is applied", uncertain=True)
        if observed == self.text:
            return None
        action = "create" if observed is None else "update"
        return Change(self.id, action, "differs", diffs=(Diff(self.path, observed or "", self.text),))

    def steps(self, change: Change) -> Iterator[Step]:
        yield from self.work(self)


def uploaded(letter: Letter) -> Iterator[Step]:
    """Write the file by an upload."""
    yield Upload(letter.path, letter.text.encode(), hashlib.sha256(letter.text.encode()).hexdigest())


def by_job(letter: Letter) -> Iterator[Step]:
    """Write the file in a job."""
    yield Job("write", f"printf %s {quote(letter.text)} >{quote(letter.path)}")


def failing(message: str) -> Steps:
    """Fail with a message."""

    def steps(_: Letter) -> Iterator[Step]:
        yield Run(f"echo warming up; echo {quote(message)} >&2; exit 7")

    return steps


def scripted(*scripts: str) -> Steps:
    """Run these."""

    def steps(_: Letter) -> Iterator[Step]:
        yield from (Run(script) for script in scripts)

    return steps


def declared(*letters: Resource, roles: tuple[str, ...] | None = None, role: str = "letters") -> Declared:
    """All of one role."""
    return Declared.of("here", [(role, letter) for letter in letters], roles)


def names(events: list[Event]) -> list[str]:
    """Event names with the resource, where there is one."""
    return [" ".join(filter(None, (event.name, getattr(event, "resource", "")))) for event in events]


class World:
    """One host and what happened there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.session = ShSession(root)
        self.events: list[Event] = []
        self.stop = threading.Event()
        self.last: HostApply | None = None

    def letter(self, name: str, **fields: Any) -> Letter:
        """A resource: the file of that name."""
        return replace(Letter(str(self.root / name)), **fields)

    def apply(self, what: Declared, **options: Any) -> Applied:
        """Apply, with the options of `HostApply`; events and requests are counted anew."""
        self.events.clear()
        self.session.requests = 0
        self.last = HostApply(self.session, what, self.events.append, self.stop, "tester", **options)
        return self.last.run()

    def text(self, name: str) -> str:
        """The content of a file."""
        return (self.root / name).read_text()

    @property
    def state(self) -> dict[str, dict[str, str]]:
        """What is owned here."""
        found: dict[str, dict[str, str]] = json.loads((self.root / "state/state.json").read_text())["resources"]
        return found
