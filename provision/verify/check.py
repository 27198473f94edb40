"""What a check is: a question to a host, and a pure judgement of its answer. And in which order they are asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from provision.dataclass import dataclass
from provision.resources.base import Section

Status = Literal["passed", "failed", "skipped", "blocked"]

FLEET = "fleet"
"""In place of a host's name: what concerns none."""


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Args:
        status: `blocked` when a check that it needs did not pass.
        message: the cause, one line; what was found where it passed.
        figures: numbers for the report: `tokens_per_second`, `load_seconds`.
    """

    status: Status
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, complaints: Sequence[str], found: str = "") -> "Verdict":
        """Failed with these complaints; passed when there are none."""
        return cls("failed", "; ".join(complaints)) if complaints else cls("passed", found)


class Check(ABC):
    """One check of one host. Subclasses are frozen dataclasses that hold what was declared."""

    timeout: float = 30.0
    """Seconds that its question may take."""
    early: bool = False
    """Its question does no harm and costs little where what it needs is broken: it need not wait for that."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For the reader; unique on a host."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of checks without which this one says nothing. Those that a host does not have do not count."""
        return ()

    @property
    def secrets(self) -> Mapping[str, str]:
        """Variables of the question that stand in no script and in no argument."""
        return {}

    @abstractmethod
    def question(self) -> str:
        """A read-only POSIX sh fragment, as a probe of a resource."""

    @abstractmethod
    def judge(self, answer: Section) -> Verdict:
        """What the answer means. Pure.

        Raises:
            ValueError: the answer cannot be understood; that is a failure.
        """


@dataclass(frozen=True)
class Result:
    """A verdict on a host. `seconds` is only known for tests of the fleet."""

    host: str
    check: str
    verdict: Verdict
    seconds: float = 0.0


def at_once(checks: Iterable[Check]) -> list[Check]:
    """Those that can be asked before anything is known."""
    return [check for check in checks if check.early or not check.needs]


def judged(check: Check, answer: Section) -> Verdict:
    """The verdict; an answer that cannot be understood is a failure, never a silent pass."""
    try:
        return check.judge(answer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = answer.err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return Verdict("failed", f"cannot be asked: {said or error}")


def in_waves(
    checks: Sequence[Check],
    known: Mapping[str, Verdict],
    ask: Callable[[Sequence[Check]], Mapping[str, Section]],
    told: Mapping[str, Section] | None = None,
) -> Iterator[tuple[str, Verdict]]:
    """Ask all checks whose needs are known at once, then those that needed them, and so on.

    Args:
        checks: of one host.
        known: verdicts found by other means, that checks may need.
        ask: puts the questions of several checks in one request; gives the answers by name.
        told: answers of those that were asked before, by name.
    """
    verdicts, answers = dict(known), dict(told or {})
    names = {check.name for check in checks} | set(known)
    waiting = list(checks)
    while waiting:
        ready = [check for check in waiting if all(n in verdicts or n not in names for n in check.needs)]
        if not ready:
            raise ValueError(f"checks need each other: {', '.join(check.name for check in waiting)}")
        causes = {check.name: blocked_by(check, verdicts) for check in ready}
        if asked := [check for check in ready if not causes[check.name] and check.name not in answers]:
            answers |= ask(asked)
        for check in ready:
            cause = causes[check.name]
            verdict = Verdict("blocked", f"blocked by {cause}") if cause else judged(check, answers[check.name])
            verdicts[check.name] = verdict
            yield check.name, verdict
        waiting = [check for check in waiting if check not in ready]


def blocked_by(check: Check, verdicts: Mapping[str, Verdict]) -> str:
    """The name of the check that failed first on the way to this one, or ""."""
    for need in check.needs:
        verdict = verdicts.get(need)
        if verdict is None or verdict.status in ("passed", "skipped"):
            continue
        return verdict.message.removeprefix("blocked by ") if verdict.status == "blocked" else need
    return ""
