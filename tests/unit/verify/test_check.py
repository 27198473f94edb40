"""In which order checks are asked, and what becomes of those whose needs fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from provision.resources.base import Section
from provision.verify.check import Check, Verdict, in_waves

PASSED, FAILED = Verdict("passed"), Verdict("failed", "broken")


@dataclass(frozen=True)
class Simple(Check):
    """Passes when its answer is `ok`."""

    label: str
    wants: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.label

    @property
    def needs(self) -> tuple[str, ...]:
        return self.wants

    def question(self) -> str:
        return ":"

    def judge(self, answer: Section) -> Verdict:
        return Verdict.of([] if answer.text == "ok" else [answer.text])


def run(checks: Sequence[Check], answers: Mapping[str, str], known: Mapping[str, Verdict] | None = None) -> "Asked":
    """Run the checks with these answers; `ok` where none is given."""
    requests: list[list[str]] = []

    def ask(asked: Sequence[Check]) -> Mapping[str, Section]:
        requests.append([check.name for check in asked])
        return {check.name: Section(0, answers.get(check.name, "ok").encode()) for check in asked}

    return Asked(dict(in_waves(checks, known or {}, ask)), requests)


@dataclass(frozen=True)
class Asked:
    """What came of it: verdicts, and which checks travelled together."""

    verdicts: dict[str, Verdict]
    requests: list[list[str]]


CHAIN = (Simple("a"), Simple("b"), Simple("c", ("a",)), Simple("d", ("c",)), Simple("e", ("b",)))


def test_what_does_not_depend_on_each_other_travels_together() -> None:
    assert run(CHAIN, {}).requests == [["a", "b"], ["c", "e"], ["d"]]


def test_a_failure_blocks_all_that_depends_on_it_and_nothing_else() -> None:
    asked = run(CHAIN, {"a": "broken"})
    assert {name: (one.status, one.message) for name, one in asked.verdicts.items()} == {
        "a": ("failed", "broken"),
        "b": ("passed", ""),
        "c": ("blocked", "blocked by a"),
        "d": ("blocked", "blocked by a"),
        "e": ("passed", ""),
    }
    assert asked.requests == [["a", "b"], ["e"]]


@pytest.mark.parametrize(("known", "status"), [({}, "passed"), ({"x": PASSED}, "passed"), ({"x": FAILED}, "blocked")])
def test_a_need_that_the_host_does_not_have_does_not_count(known: Mapping[str, Verdict], status: str) -> None:
    assert run([Simple("a", ("x",))], {}, known).verdicts["a"].status == status


def test_checks_that_need_each_other_are_told() -> None:
    with pytest.raises(ValueError, match="need each other: a, b"):
        run([Simple("a", ("b",)), Simple("b", ("a",))], {})
