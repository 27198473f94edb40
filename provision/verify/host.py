"""All built-in checks of one host, on one session."""

from collections.abc import Mapping, Sequence

from provision.dataclass import dataclass
from provision.engine.plan import PROBE_TIMEOUT, Declared, Plan, compare, fragments, observed
from provision.engine.script import LANES, LIMIT, probes
from provision.errors import HostError, ResourceFailed
from provision.facts.model import Identity
from provision.host.session import Session
from provision.resources.base import Section
from provision.values import printable
from provision.verify.check import Check, Result, Verdict, at_once, in_waves
from provision.verify.checks.reach import Doors, question

LISTENING = "who listens"
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
    """Put the questions of all these checks in one request, one after the other.

    Raises:
        HostError: the host did not answer as it should.
    """
    # One at a time: a generation beside another one is slower, and may push its model out of memory.
    return _answers(session, {check.name: check.question() for check in checks}, checks, 0, lanes=1)


def ask_first(session: Session, declared: Declared, checks: Sequence[Check]) -> Mapping[str, Section]:
    """Put all that needs no answer before in one request: the probes, the questions of these checks, who listens.

    Raises:
        HostError: the host did not answer as it should.
    """
    asked = fragments(declared, declared.resources)
    asked |= {check.name: check.question() for check in checks} | {LISTENING: question()}
    return _answers(session, asked, checks, PROBE_TIMEOUT, LANES)


def _answers(
    session: Session, asked: Mapping[str, str], checks: Sequence[Check], timeout: float, lanes: int
) -> Mapping[str, Section]:
    secrets = {name: value for check in checks for name, value in check.secrets.items()}
    script = probes(asked, lanes)
    timeout += sum(check.timeout for check in checks)
    answer = session.run(script.text, timeout=timeout, secrets=secrets, limit=4 * LIMIT * len(asked))
    try:
        return script.parse(answer.out)
    except ValueError as error:
        said = printable(answer.complaint, 300)
        raise HostError(session.name, f"the checks gave no answer ({error}): {said}") from error


def drift(declared: Declared, answers: Mapping[str, Section]) -> Verdict:
    """The plan is empty, by the answers to the probes. Pure."""
    try:
        return drifted(compare(declared, observed(declared, declared.resources, answers)))
    except ResourceFailed as error:
        return Verdict("failed", f"{error.resource}: {error.message}")


def drifted(plan: Plan) -> Verdict:
    """What would change, by name. Pure."""
    texts = [printable(f"{change.action} {change.resource} ({change.why})", 200) for change in plan.changes]
    if len(texts) > _SHOWN:
        texts[_SHOWN:] = [f"{len(texts) - _SHOWN} more"]
    return Verdict.of(texts, f"{plan.unchanged} as declared")


def verify(session: Session, declared: Declared, checks: Sequence[Check]) -> tuple[list[Result], Section]:
    """Drift first, then the checks in waves; and the answer to the question who listens.

    Args:
        session: to the host.
        declared: its resources.
        checks: of the host.

    Raises:
        HostError: the host did not answer as it should.
    """
    answers = ask_first(session, declared, at_once(checks))
    before = {"drift": drift(declared, answers)}
    found = [*before.items(), *in_waves(checks, before, lambda asked: ask(session, asked), answers)]
    return [Result(declared.host, name, verdict) for name, verdict in found], answers[LISTENING]
