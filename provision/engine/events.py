"""What happens in a run, as data: `--json` prints these, one object a line; the console and the log show them.

The schema is documented in docs/events.md. Every object has `event`, `time` (seconds since 1970) and, where it is about
one host, `host`.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from provision.dataclass import dataclass
from provision.engine.mask import masked_value
from provision.preflight.finding import Finding
from provision.resources.base import Change

Status = Literal["ok", "changed", "failed", "unreachable", "interrupted", "skipped"]


class Event:
    """Base of all events, which are dataclasses."""

    name: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The first event: what was typed, and the hosts in the order in which they will be worked on."""

    name: ClassVar[str] = "run-started"
    command: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HostStarted(Event):
    """A connection to the host is being made."""

    name: ClassVar[str] = "host-started"
    host: str


@dataclass(frozen=True, kw_only=True)
class HostPlanned(Event):
    """The host was asked: what will change there, how many resources are as declared, what is no longer declared."""

    name: ClassVar[str] = "host-planned"
    host: str
    changes: tuple[Change, ...]
    unchanged: int
    no_longer_declared: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostExamined(Event):
    """Whether what the plan wants can work there: memory for the models, disks, ports, clock, reachable sources."""

    name: ClassVar[str] = "host-examined"
    host: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class ChangeStarted(Event):
    """Work on a resource begins."""

    name: ClassVar[str] = "change-started"
    host: str
    resource: str
    action: str


@dataclass(frozen=True, kw_only=True)
class ChangeProgress(Event):
    """How far long work is. `done` and `total` in bytes; `total` is 0 when it is not known."""

    name: ClassVar[str] = "change-progress"
    host: str
    resource: str
    text: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class ChangeFinished(Event):
    """A resource was changed. `seconds` include steps that travelled in the same request."""

    name: ClassVar[str] = "change-finished"
    host: str
    resource: str
    action: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Something worth saying about a host that is neither a change nor a failure."""

    name: ClassVar[str] = "note"
    host: str
    text: str


@dataclass(frozen=True, kw_only=True)
class HostFinished(Event):
    """The last event of a host. `error` says why, one line, when the status is not `ok` or `changed`."""

    name: ClassVar[str] = "host-finished"
    host: str
    status: Status
    changed: int
    unchanged: int
    seconds: float
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The last event of a run."""

    name: ClassVar[str] = "run-finished"
    exit_code: int
    seconds: float


Emit = Callable[[Event], None]


def as_json(event: Event) -> dict[str, Any]:
    """An event of this moment as JSON values, secrets replaced."""
    values = {"event": event.name, "time": round(time.time(), 3)}
    values |= {name: _plain(value) for name, value in vars(event).items()}
    masked: dict[str, Any] = masked_value(values)
    return masked


def change_as_json(change: Change) -> dict[str, Any]:
    """A change without what is private."""
    return {
        "resource": change.resource,
        "action": change.action,
        "why": change.why,
        "before": dict(change.before),
        "after": dict(change.after),
        "diffs": [dataclasses.asdict(diff) for diff in change.diffs],
        "download": change.download,
        "uncertain": change.uncertain,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Change):
        return change_as_json(value)
    if isinstance(value, Finding):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value
