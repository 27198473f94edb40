"""A host is brought to what is declared: what is done, in how many requests, and how a failure is told."""

from collections.abc import Callable, Iterator

import pytest

from provision.engine.events import ChangeFinished, ChangeProgress, Note
from provision.engine.plan import Declared, make_plan
from provision.errors import HostError, HostRefused, InputError, ResourceFailed
from provision.host.session import Answer
from provision.resources.base import Docker, Resource, Run, Step
from tests.unit.engine.world import Letter, World, by_job, declared, failing, names, scripted, uploaded


def test_what_differs_is_changed_and_a_second_run_changes_nothing_with_one_request(world: World) -> None:
    (world.root / "b").write_text("old")
    what = declared(
        world.letter("a"), world.letter("b"), world.letter("c", work=uploaded), world.letter("d", work=by_job)
    )
    first = world.apply(what)
    assert ([change.action for change in first.changed], first.unchanged) == (
        ["create", "update", "create", "create"],
        0,
    )
    assert [world.text(name) for name in "abcd"] == ["text"] * 4
    second = world.apply(what)
    assert (second.changed, second.unchanged) == ([], 4)
    assert world.session.requests == 1
    assert world.session.owner == "tester"


def test_no_lock_is_taken_when_there_is_nothing_to_do(world: World) -> None:
    what = declared(world.letter("a"))
    world.apply(what)
    world.session.owner = None
    world.session.holder = "anna@desk"
    assert world.apply(what).unchanged == 1
    (world.root / "a").write_text("drifted")
    with pytest.raises(HostRefused, match="anna@desk"):
        world.apply(what)
    assert world.text("a") == "drifted"


def test_steps_that_need_no_answer_travel_in_one_request(world: World) -> None:
    world.apply(declared(*(world.letter(f"f{number}") for number in range(30))))
    # plan, plan under the lock, all steps, proof, state
    assert world.session.requests == 5


def test_the_plan_that_counts_is_the_one_made_under_the_lock(world: World) -> None:
    what = declared(world.letter("a"), world.letter("b"))

    def somebody_else() -> None:
        if world.session.owner:
            (world.root / "a").write_text("text")

    world.session.before = somebody_else
    assert [change.resource for change in world.apply(what).changed] == ["letter:b"]


def test_a_failure_names_host_resource_and_reason_and_what_came_before_it_stays_done(world: World) -> None:
    what = declared(world.letter("a"), world.letter("b", work=failing("disk is on fire")), world.letter("c"))
    with pytest.raises(ResourceFailed) as caught:
        world.apply(what)
    assert str(caught.value) == "here: letter:b: disk is on fire"
    assert world.last
    assert [change.resource for change in world.last.applied.changed] == ["letter:a"]
    assert world.last.applied.unchanged == 0
    assert not (world.root / "c").exists()
    assert set(world.state) == {"letter:a"}
    assert [event.text for event in world.events if isinstance(event, Note)] == [
        "not begun, as letter:b failed: letter:c"
    ]


def test_of_many_resources_that_were_not_begun_the_first_are_named(world: World) -> None:
    later = [world.letter(f"c{number}") for number in range(14)]
    with pytest.raises(ResourceFailed):
        world.apply(declared(world.letter("b", work=failing("disk is on fire")), *later))
    (note,) = [event.text for event in world.events if isinstance(event, Note)]
    assert note.startswith("not begun, as letter:b failed: letter:c0, letter:c1, ")
    assert note.endswith("letter:c11 and 2 more")


def test_after_the_cause_is_gone_the_next_run_goes_on(world: World) -> None:
    what = declared(world.letter("a"), world.letter("b", work=failing("no")), world.letter("c"))
    with pytest.raises(ResourceFailed):
        world.apply(what)
    done = world.apply(declared(world.letter("a"), world.letter("b"), world.letter("c")))
    assert [change.resource for change in done.changed] == ["letter:b", "letter:c"]


def test_a_change_without_effect_did_not_converge(world: World) -> None:
    with pytest.raises(ResourceFailed, match="letter:b: did not converge: differs"):
        world.apply(declared(world.letter("a"), world.letter("b", work=scripted("true"))))
    assert set(world.state) == {"letter:a"}


def test_what_a_change_brings_to_light_is_changed_in_the_same_run(world: World) -> None:
    first = world.letter("a")
    breaks = world.letter("b", work=scripted(f"printf text >{world.root}/b; rm {world.root}/a"))
    (world.root / "a").write_text("text")
    done = world.apply(declared(first, breaks))
    assert [change.resource for change in done.changed] == ["letter:b", "letter:a"]
    assert world.text("a") == "text"


def test_two_resources_that_undo_each_other_end_as_not_converged(world: World) -> None:
    one = world.letter("a", work=scripted(f"printf text >{world.root}/a; rm -f {world.root}/b"))
    two = world.letter("b", work=scripted(f"printf text >{world.root}/b; rm -f {world.root}/a"))
    with pytest.raises(ResourceFailed, match="did not converge"):
        world.apply(declared(one, two))


@pytest.mark.parametrize("made_right", [True, False])
def test_an_uncertain_change_is_asked_again_at_its_turn(world: World, made_right: bool) -> None:
    (world.root / "b").write_text("old")
    also = f"; printf text >{world.root}/b" if made_right else ""
    first = world.letter("a", work=scripted(f"printf text >{world.root}/a{also}"))
    second = world.letter("b", after=(first,))
    done = world.apply(declared(first, second))
    assert [change.resource for change in done.changed] == ["letter:a", *([] if made_right else ["letter:b"])]
    assert world.text("b") == "text"


def test_events_tell_the_story(world: World) -> None:
    world.apply(declared(world.letter("a"), world.letter("b", work=by_job)))
    assert names(world.events) == [
        "host-planned",
        "change-started letter:a",
        "change-finished letter:a",
        "change-started letter:b",
        "change-progress letter:b",
        "change-finished letter:b",
    ]
    progress = next(event for event in world.events if isinstance(event, ChangeProgress))
    assert (progress.text, progress.done, progress.total) == ("working", 1, 2)


def test_a_chain_reports_each_resource_that_was_done_before_one_failed(world: World) -> None:
    with pytest.raises(ResourceFailed):
        world.apply(declared(world.letter("a"), world.letter("b"), world.letter("c", work=failing("no"))))
    finished = [event.resource for event in world.events if isinstance(event, ChangeFinished)]
    assert finished == ["letter:a", "letter:b"]


def test_secrets_of_a_step_are_variables_and_stand_in_no_script(world: World) -> None:
    def steps(name: str, value: str) -> Callable[[Letter], Iterator[Step]]:
        def inner(letter: Letter) -> Iterator[Step]:
            yield Run(f'printf %s "$TOKEN" >{world.root}/{name}', secrets={"TOKEN": value})

        return inner

    one = world.letter("a", text="hunter2", work=steps("a", "hunter2"))
    two = world.letter("b", text="other", work=steps("b", "other"))
    world.apply(declared(one, two))
    assert (world.text("a"), world.text("b")) == ("hunter2", "other")
    assert not any("hunter2" in script for script in world.session.scripts)


def test_a_docker_step_without_an_engine_is_a_failure_of_its_resource(world: World) -> None:
    def steps(_: Letter) -> Iterator[Step]:
        yield Docker(lambda client: None, "start")

    with pytest.raises(ResourceFailed, match="letter:a: there is no Docker here"):
        world.apply(declared(world.letter("a", work=steps)))


def test_what_cannot_be_understood_names_the_resource(world: World) -> None:
    (world.root / "a").write_text("garbled")
    with pytest.raises(ResourceFailed, match="letter:a: what the host says cannot be understood: garbled"):
        world.apply(declared(world.letter("a")))


def test_a_host_that_answers_nonsense_is_an_error_of_that_host(world: World) -> None:
    world.session.answer = Answer(3, b"nonsense", b"sh: disk full\n")
    with pytest.raises(HostError, match=r"here: the probes gave no answer .*: sh: disk full"):
        make_plan(world.session, declared(world.letter("a")))


class TestDeclared:
    def test_the_same_resource_twice_counts_once(self, world: World) -> None:
        what = Declared.of("here", [("one", world.letter("a")), ("two", world.letter("a"))])
        assert len(what.resources) == 1

    def test_two_resources_of_one_id_are_a_mistake(self, world: World) -> None:
        one: list[tuple[str, Resource]] = [("one", world.letter("a")), ("two", world.letter("a", text="other"))]
        with pytest.raises(InputError, match="here: letter:a is declared by one and differently by two"):
            Declared.of("here", one)


def test_a_plan_says_how_many_resources_are_as_declared(world: World) -> None:
    plan = make_plan(world.session, declared(world.letter("a"), world.letter("b")))
    (world.root / "a").write_text("text")
    later = make_plan(world.session, declared(world.letter("a"), world.letter("b")))
    assert (plan.unchanged, later.unchanged) == (0, 1)
