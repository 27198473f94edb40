"""Steps of changes, executed in order on one session. Runs that follow each other travel in one request."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TypeAlias

from provision.dataclass import dataclass
from provision.engine.events import ChangeFinished, ChangeProgress, ChangeStarted, Emit
from provision.engine.script import Script, chain
from provision.errors import HostError, Interrupted, ResourceFailed, SessionLost
from provision.host.session import Answer, Session
from provision.resources.base import Change, Docker, Job, Progress, Reboot, Resource, Run, Section, Step, Upload
from provision.values import printable

_SLOW = 60.0
"""A step that may take longer than this many seconds gets a request of its own, so that a reader sees what is slow."""

_CHAIN = 512 << 10
"""Bytes of script after which a chain is sent."""


Own: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Watches over a resource's own program while it runs: `Declared.own_program`."""


@dataclass(frozen=True)
class _Link:
    """A Run that waits to be sent. `last`: the change is done after it."""

    change: Change
    run: Run
    number: int
    last: bool

    @property
    def name(self) -> str:
        return f"{self.change.resource} {self.number}"


class Executor:
    """Executes changes on one host.

    Args:
        host: its inventory name.
        session: with root.
        emit: gets the events.
        stop: set when nothing new may start.
    """

    def __init__(self, host: str, session: Session, emit: Emit, stop: threading.Event) -> None:
        self.host, self.session, self.emit, self.stop = host, session, emit, stop
        self.done: list[Change] = []
        self._chain: list[_Link] = []
        self._began: dict[str, float] = {}

    def change(self, resource: Resource, change: Change, own: Own) -> None:
        """Execute a change, or put its steps into the chain. `flush` sends what is still there.

        Raises:
            ResourceFailed: a step failed, of this change or of one before it in the chain.
            InputError: the resource's program is wrong.
            Interrupted: `stop` is set; nothing was begun.
        """
        with self._blame(change), own():
            steps = list(resource.steps(change))
            for step in steps:
                if not isinstance(step, Step):
                    raise TypeError(f"steps() gives {printable(repr(step), 80)}, which is no step")
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            if isinstance(step, Run):
                self._append(_Link(change, step, number, last))
                continue
            self.flush()
            self._start(change)
            with self._blame(change):
                self._single(change, step, own)
            if last:
                self._finish(change)
        if not steps:
            self._start(change)
            self._finish(change)

    def flush(self) -> None:
        """Send the chain and judge its answer."""
        links, self._chain = self._chain, []
        if not links:
            return
        for link in links:
            self._start(link.change)
        script = chain({link.name: link.run.script for link in links})
        secrets = {name: value for link in links for name, value in link.run.secrets.items()}
        timeout = sum(link.run.timeout for link in links)
        with self._blame(links[0].change):
            answer = self.session.run(script.text, timeout=timeout, secrets=secrets or None)
        for link, section in zip(links, self._sections(links, script, answer), strict=False):
            if section.rc:
                raise ResourceFailed(self.host, link.change.resource, complaint(section))
            if link.last:
                self._finish(link.change)

    def _sections(self, links: list[_Link], script: Script, answer: Answer) -> list[Section]:
        try:
            found = script.parse(answer.out)
        except ValueError as error:
            why = printable(answer.complaint if answer.rc else str(error), 500)
            raise ResourceFailed(self.host, links[0].change.resource, why) from error
        return [found[link.name] for link in links if link.name in found]

    def _append(self, link: _Link) -> None:
        """Add to the chain; send it before what is slow, what is big, and before a secret's name gets another value."""
        known = {name: value for earlier in self._chain for name, value in earlier.run.secrets.items()}
        clash = any(known.get(name, value) != value for name, value in link.run.secrets.items())
        size = sum(len(earlier.run.script) for earlier in self._chain)
        if clash or link.run.timeout > _SLOW or size > _CHAIN:
            self.flush()
        self._chain.append(link)
        if link.run.timeout > _SLOW:
            self.flush()

    def _single(self, change: Change, step: Step, own: Own) -> None:
        if isinstance(step, Upload):
            self.session.upload(
                step.path,
                step.content,
                sha256=step.sha256,
                progress=lambda done, total: self._progress(change, Progress("uploading", done, total)),
            )
            self._progress(change, Progress("uploaded"))
        elif isinstance(step, Job):
            job = replace(step, progress=_watched(step.progress, own))
            answer = self.session.job(job, lambda progress: self._progress(change, progress))
            if answer.rc:
                raise ResourceFailed(self.host, change.resource, complaint(Section(answer.rc, answer.out, answer.err)))
        elif isinstance(step, Docker):
            if step.what:
                self._progress(change, Progress(step.what))
            with own():
                call_docker(step, self.session)
        elif isinstance(step, Reboot):
            self.session.reboot(lambda text: self._progress(change, Progress(text)))

    def _progress(self, change: Change, progress: Progress) -> None:
        """Called often while something long runs: also the place where Ctrl-C gets a hold."""
        if self.stop.is_set():
            raise Interrupted(f"{self.host}: {change.resource}: stopped waiting")
        if not progress.text and not progress.done:
            return
        text = printable(progress.text, 200)
        self.emit(
            ChangeProgress(
                host=self.host, resource=change.resource, text=text, done=progress.done, total=progress.total
            )
        )

    def _start(self, change: Change) -> None:
        if change.resource in self._began:
            return
        if self.stop.is_set():
            raise Interrupted(f"{self.host}: stopped before {change.resource}")
        self._began[change.resource] = time.monotonic()
        self.emit(ChangeStarted(host=self.host, resource=change.resource, action=change.action))

    def _finish(self, change: Change) -> None:
        seconds = time.monotonic() - self._began[change.resource]
        self.done.append(change)
        self.emit(ChangeFinished(host=self.host, resource=change.resource, action=change.action, seconds=seconds))

    @contextmanager
    def _blame(self, change: Change) -> Iterator[None]:
        """What goes wrong inside is a failure of this resource; a lost connection stays one of the host."""
        try:
            yield
        except (ResourceFailed, SessionLost):
            raise
        except HostError as error:
            raise ResourceFailed(self.host, change.resource, error.message, error.hint) from error
        except ValueError as error:
            raise ResourceFailed(self.host, change.resource, printable(str(error), 500)) from error


def _watched(read: Callable[[str], Progress | None] | None, own: Own) -> Callable[[str], Progress | None] | None:
    """What reads a job's log, as the part of the resource's own program that it is."""
    if read is None:
        return None

    def watched(line: str) -> Progress | None:
        with own():
            return read(line)

    return watched


def call_docker(step: Docker, session: Session) -> None:
    """One call to the host's Docker engine.

    Raises:
        ValueError: the engine refused it or cannot be reached; the message says why.
    """
    import docker  # never docker.errors first: threads that load it and docker at once wait for each other

    try:
        step.call(session.docker())
    except docker.errors.APIError as error:
        raise ValueError(f"Docker: {error.explanation or error}") from error
    except (docker.errors.DockerException, OSError) as error:  # what requests raises is an OSError
        raise ValueError(f"Docker: {error}") from error


def complaint(section: Section) -> str:
    """Why a step failed: the last line of its error output that says something, else of its output."""
    for output in (section.err, section.out):
        lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return printable(lines[-1], 500)
    return f"exit status {section.rc}"
