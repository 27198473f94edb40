"""All built-in checks of one host, on one session."""

from collections.abc import Mapping, Sequence

from provision.dataclass import dataclass
from provision.engine.plan import Declared, Plan, make_plan
from provision.engine.script import LIMIT, probes
from provision.errors import HostError, ResourceFailed
from provision.facts.model import Identity
from provision.host.session import Session
from provision.resources.base import Section
from provision.values import printable
from provision.verify.check import Check, Result, Verdict, in_waves
from provision.verify.checks.reach import Doors

_SHOWN = 8
"""Changes that the message about drift names."""


@dataclass(frozen=True)
class Verified:
    """What is known of a host: for the report, and for the fleet's own tests."""

    session: Session
    identity: Identity
    declared: Declared
    results: tuple[Result, ...]
    doors: Doors


def ask(session: Session, checks: Sequence[Check]) -> Mapping[str, Section]:
    """Put the questions of all these checks in one request.

    Raises:
        HostError: the host did not answer as it should.
    """
    secrets = {name: value for check in checks for name, value in check.secrets.items()}
    asked = {check.name: check.question() for check in checks}
    return questions(session, asked, sum(check.timeout for check in checks), secrets)


def questions(
    session: Session, fragments: Mapping[str, str], timeout: float, secrets: Mapping[str, str] | None = None
) -> Mapping[str, Section]:
    """Run all fragments in one request, one after the other.

    Raises:
        HostError: the host did not answer as it should.
    """
    # One at a time: a generation beside another one is slower, and may push its model out of memory.
    script = probes(fragments, lanes=1)
    answer = session.run(script.text, timeout=timeout, secrets=secrets, limit=4 * LIMIT * len(fragments))
    try:
        return script.parse(answer.out)
    except ValueError as error:
        said = printable(answer.complaint, 300)
        raise HostError(session.name, f"the checks gave no answer ({error}): {said}") from error


def drift(session: Session, declared: Declared) -> Verdict:
    """The plan is empty.

    Raises:
        HostError: the host did not answer.
    """
    try:
        return drifted(make_plan(session, declared))
    except ResourceFailed as error:
        return Verdict("failed", f"{error.resource}: {error.message}")


def drifted(plan: Plan) -> Verdict:
    """What would change, by name. Pure."""
    texts = [printable(f"{change.action} {change.resource} ({change.why})", 200) for change in plan.changes]
    if len(texts) > _SHOWN:
        texts[_SHOWN:] = [f"{len(texts) - _SHOWN} more"]
    return Verdict.of(texts, f"{plan.unchanged} as declared")


def verify(session: Session, declared: Declared, checks: Sequence[Check]) -> list[Result]:
    """Drift first, then the checks in waves.

    Args:
        session: to the host.
        declared: its resources.
        checks: of the host.
    """
    before = {"drift": drift(session, declared)}
    found = [*before.items(), *in_waves(checks, before, lambda asked: ask(session, asked))]
    return [Result(declared.host, name, verdict) for name, verdict in found]
