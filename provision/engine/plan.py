"""What would change on a host: its declared resources, what is there, and the difference. One request."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any

from provision.dataclass import dataclass
from provision.engine import state
from provision.engine.script import LIMIT, Script, probes
from provision.engine.state import State
from provision.errors import HostError, InputError, ResourceFailed
from provision.host.session import Session
from provision.resources.base import Change, Pending, Resource, Section
from provision.roles import BUGS, bug
from provision.values import printable

PROBE_TIMEOUT = 180.0
"""Seconds for all probes of a host together."""

_STATE = "provision state"


@dataclass(frozen=True)
class Declared:
    """All that is to be true on a host, in the order in which it is to be made true: (role, resource)."""

    host: str
    entries: tuple[tuple[str, Resource], ...]
    roles: tuple[str, ...] | None = None

    @classmethod
    def of(cls, host: str, entries: Iterable[tuple[str, Resource]], roles: tuple[str, ...] | None = None) -> "Declared":
        """Checks that every id is declared once; the very same resource may be declared by several roles.

        Args:
            host: its inventory name.
            entries: (role, resource).
            roles: these roles alone were asked for; None: all of the host's.

        Raises:
            InputError: two different resources have the same id.
        """
        found: dict[str, tuple[str, Resource]] = {}
        for role, resource in entries:
            first = found.setdefault(resource.id, (role, resource))
            if first[1] != resource:
                raise InputError(f"{host}: {resource.id} is declared by {first[0]} and differently by {role}")
        return cls(host, tuple(found.values()), roles)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Without their roles."""
        return tuple(resource for _, resource in self.entries)

    @contextmanager
    def own_program(self, resource: Resource) -> Iterator[None]:
        """A resource's own program at work: a mistake in it is told with its role and its place.

        Raises:
            InputError: it raised one of `BUGS`. (With a ValueError it refuses what it is given.)
        """
        try:
            yield
        except BUGS as error:
            raise self.wrong(resource, error) from error

    def wrong(self, resource: Resource, error: BaseException) -> InputError:
        """What to say of a mistake in a resource's program."""
        role = next(role for role, one in self.entries if one.id == resource.id)
        file = getattr(sys.modules.get(type(resource).__module__), "__file__", None) or role
        return InputError(f"{self.host}: role {role}: {resource.id}: {bug(error, Path(file))}")


@dataclass(frozen=True)
class Observation:
    """What is there: resource id -> the resource's own type; and what we own."""

    of: Mapping[str, Any]
    state: State
    sections: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Plan:
    """The changes of one host, in order; `remarks` are what its resources cannot bring about by themselves."""

    declared: Declared
    changes: tuple[Change, ...]
    observation: Observation
    remarks: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Its inventory name."""
        return self.declared.host

    @property
    def unchanged(self) -> int:
        """How many resources are as declared."""
        return len(self.declared.entries) - len(self.changes)

    @property
    def gone(self) -> tuple[str, ...]:
        """What we own there and is no longer declared."""
        names = (resource.id for resource in self.declared.resources)
        return self.observation.state.gone(names, self.declared.roles)

    @property
    def download(self) -> int:
        """Bytes that will come over the network, as far as known."""
        return sum(change.download or 0 for change in self.changes)


def make_plan(session: Session, declared: Declared) -> Plan:
    """Ask the host once and compare.

    Raises:
        HostError: the host did not answer as it should.
        ResourceFailed: a resource cannot be understood.
        InputError: a resource's program is wrong.
    """
    return compare(declared, observe(session, declared))


def compare(declared: Declared, observation: Observation) -> Plan:
    """The plan for what was observed. Pure."""
    pending = Pending()
    for resource in declared.resources:
        if change := planned(declared, resource, observation.of[resource.id], pending):
            pending.changes[resource.id] = change
    return Plan(declared, tuple(pending.changes.values()), observation, tuple(_remarks(declared, observation)))


def _remarks(declared: Declared, observation: Observation) -> Iterator[str]:
    for resource in declared.resources:
        if remark := getattr(resource, "remark", None):
            with _asked(declared, resource):
                text = remark(observation.of[resource.id])
            if text:
                yield printable(text, 500)


@contextmanager
def _asked(declared: Declared, resource: Resource, refusal: str = "") -> Iterator[None]:
    """A resource is asked for something; what it refuses, with `refusal` before it, is its failure on this host."""
    try:
        yield
    except BUGS as error:
        raise declared.wrong(resource, error) from error
    except ValueError as error:
        raise ResourceFailed(declared.host, resource.id, printable(f"{refusal}{error}", 500)) from error


def planned(declared: Declared, resource: Resource, observed: Any, pending: Pending) -> Change | None:
    """The resource's own plan.

    Raises:
        ResourceFailed: it refuses to make one.
        InputError: its program is wrong.
    """
    with _asked(declared, resource):
        change = resource.plan(observed, pending)
        if not isinstance(change, Change | None):
            raise TypeError(f"plan() gives {printable(repr(change), 80)}, which is no change")
    return change


def fragments(declared: Declared, resources: Iterable[Resource]) -> dict[str, str]:
    """All probes of these by resource id, and the one for what we own.

    Raises:
        ResourceFailed: a resource refuses what it was given.
        InputError: its program is wrong.
    """
    found = {_STATE: state.probe()}
    for resource in resources:
        with _asked(declared, resource):
            found[resource.id] = fragment = resource.probe()
            if not isinstance(fragment, str):
                raise TypeError(f"probe() gives {printable(repr(fragment), 80)}, which is no script")
    return found


def question(declared: Declared, resources: Iterable[Resource]) -> Script:
    """All probes of these, and what we own, as one script."""
    return probes(fragments(declared, resources))


def observe(session: Session, declared: Declared, only: Resource | None = None) -> Observation:
    """Run all probes, or one resource's, in one request."""
    resources = declared.resources if only is None else (only,)
    script = question(declared, resources)
    answer = session.run(script.text, timeout=PROBE_TIMEOUT, limit=4 * LIMIT * len(script.names))
    try:
        sections = script.parse(answer.out)
    except ValueError as error:
        said = f": {printable(answer.complaint, 300)}" if answer.rc else ""
        raise HostError(declared.host, f"the probes gave no answer ({error}){said}") from error
    return observed(declared, resources, sections)


def observed(declared: Declared, resources: Iterable[Resource], sections: Mapping[str, Section]) -> Observation:
    """What the answers to `fragments` say. Pure.

    Raises:
        ResourceFailed: a resource cannot understand its answer.
        InputError: a resource's program is wrong.
    """
    found: dict[str, Any] = {}
    for resource in resources:
        with _asked(declared, resource, "what the host says cannot be understood: "):
            found[resource.id] = resource.observe(sections[resource.id])
    outputs = {resource: sections[resource].out for resource in found}
    return Observation(found, state.observe(sections[_STATE]), outputs)
