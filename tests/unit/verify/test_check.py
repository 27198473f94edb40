"""In which order checks are asked, and what becomes of those whose needs fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from provision.resources.base import Section
from provision.verify.check import Check, Verdict, at_once, in_waves

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


class Eager(Simple):
    """It need not wait."""

    early = True


def run(
    checks: Sequence[Check],
    answers: Mapping[str, str],
    known: Mapping[str, Verdict] | None = None,
    told: Mapping[str, str] | None = None,
) -> "Asked":
    """Run the checks with these answers; `ok` where none is given. `told` are those that are known before."""
    requests: list[list[str]] = []

    def ask(asked: Sequence[Check]) -> Mapping[str, Section]:
        requests.append([check.name for check in asked])
        return {check.name: Section(0, answers.get(check.name, "ok").encode()) for check in asked}

    before = {name: Section(0, text.encode()) for name, text in (told or {}).items()}
    return Asked(dict(in_waves(checks, known or {}, ask, before)), requests)


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


def test_what_was_told_before_is_not_asked_again() -> None:
    asked = run(CHAIN, {}, told={"a": "ok", "b": "ok", "c": "broken"})
    assert asked.requests == [["e"]]
    assert [name for name, one in asked.verdicts.items() if one.status == "failed"] == ["c"]
    assert asked.verdicts["d"].message == "blocked by c"


def test_an_answer_that_came_before_its_need_failed_counts_for_nothing() -> None:
    asked = run(CHAIN, {}, told={"a": "broken", "c": "ok", "d": "broken"})
    assert [asked.verdicts[name].message for name in "acd"] == ["broken", "blocked by a", "blocked by a"]


def test_at_once_are_those_that_need_nothing_or_need_not_wait() -> None:
    assert at_once((*CHAIN, Eager("f", ("d",)))) == [*CHAIN[:2], Eager("f", ("d",))]


@pytest.mark.parametrize(("known", "status"), [({}, "passed"), ({"x": PASSED}, "passed"), ({"x": FAILED}, "blocked")])
def test_a_need_that_the_host_does_not_have_does_not_count(known: Mapping[str, Verdict], status: str) -> None:
    assert run([Simple("a", ("x",))], {}, known).verdicts["a"].status == status


def test_checks_that_need_each_other_are_told() -> None:
    with pytest.raises(ValueError, match="need each other: a, b"):
        run([Simple("a", ("b",)), Simple("b", ("a",))], {})
