import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from provision.engine.apply import Applied, HostApply
from provision.engine.events import ChangeFinished, ChangeProgress, Event, HostPlanned, Note
from provision.engine.plan import Declared, Plan, make_plan
from provision.errors import HostError, HostRefused, InputError, Interrupted, ResourceFailed, SessionLost
from provision.host.session import Answer
from provision.resources.base import Docker, Reboot, Resource, Run, Step
from tests.unit.engine.world import (
    Letter,
    ShSession,
    by_job,
    declared,
    failing,
    names,
    put,
    scripted,
    uploaded,
)


class World:
    """One host and what happened there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.session = ShSession(root)
        self.events: list[Event] = []
        self.stop = threading.Event()
        self.last: HostApply | None = None

    def letter(self, name: str, **fields: Any) -> Letter:
        return replace(Letter(str(self.root / name)), **fields)

    def apply(self, what: Declared) -> Applied:
        self.events.clear()
        self.session.requests = 0
        self.last = HostApply(self.session, what, self.events.append, self.stop, "tester")
        return self.last.run()

    def text(self, name: str) -> str:
        return (self.root / name).read_text()

    @property
    def state(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads((self.root / "state/state.json").read_text())["resources"]
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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


def test_jobs_of_an_interrupted_run_are_waited_for_before_planning(world: World) -> None:
    world.session.left_jobs = ["pull-abc"]
    world.apply(declared(world.letter("a")))
    assert world.session.left_jobs == []
    assert "waiting for the job pull-abc" in next(event.text for event in world.events if isinstance(event, Note))


def test_ctrl_c_ends_the_wait_for_a_job_of_an_interrupted_run(world: World) -> None:
    world.session.left_jobs = ["pull-abc"]
    world.session.before = lambda: world.stop.set() if world.session.owner else None
    what = declared(world.letter("a"))
    world.stop.set()
    with pytest.raises(Interrupted, match="stopped waiting for the job pull-abc"):
        world.apply(what)
    assert world.session.left_jobs == ["pull-abc"]


def test_ctrl_c_starts_nothing_new_and_keeps_what_is_done(world: World) -> None:
    def pressed(letter: Letter) -> Iterator[Step]:
        world.stop.set()
        yield from put(letter)

    with pytest.raises(Interrupted):
        world.apply(declared(world.letter("a", work=by_job), world.letter("b", work=pressed), world.letter("c")))
    assert world.text("a") == "text"
    assert not (world.root / "b").exists()
    assert set(world.state) == {"letter:a"}


def test_a_running_job_is_left_alone_after_ctrl_c(world: World) -> None:
    def pressed(letter: Letter) -> Iterator[Step]:
        yield from by_job(letter)

    world.session.before = lambda: world.stop.set() if world.session.owner else None
    with pytest.raises(Interrupted, match="letter:a"):
        world.apply(declared(world.letter("a", work=pressed)))


@pytest.mark.parametrize("request_number", range(1, 6))
def test_after_a_lost_connection_anywhere_the_next_run_converges(world: World, request_number: int) -> None:
    what = declared(world.letter("a"), world.letter("b"))
    world.session.lose_at = request_number
    with pytest.raises(SessionLost):
        world.apply(what)
    world.session.lose_at = None
    world.apply(what)
    assert [world.text(name) for name in "ab"] == ["text", "text"]
    assert set(world.state) == {"letter:a", "letter:b"}
    assert world.apply(what).changed == []


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


class TestOwned:
    def test_what_is_no_longer_declared_is_listed_and_left(self, world: World) -> None:
        world.apply(declared(world.letter("a"), world.letter("b")))
        plan = make_plan(world.session, declared(world.letter("a")))
        assert plan.gone == ("letter:b",)
        world.apply(declared(world.letter("a")))
        assert world.text("b") == "text"
        planned = next(event for event in world.events if isinstance(event, HostPlanned))
        assert planned.no_longer_declared == ("letter:b",)

    def test_with_roles_only_theirs_are_missed(self, world: World) -> None:
        world.apply(Declared.of("here", [("one", world.letter("a")), ("two", world.letter("b"))]))
        plan = make_plan(world.session, declared(world.letter("c"), roles=("one",), role="one"))
        assert plan.gone == ("letter:a",)

    def test_waits_are_not_owned(self, world: World) -> None:
        world.apply(declared(world.letter("a"), world.letter("w", owned=False)))
        assert set(world.state) == {"letter:a"}

    def test_files_are_private_and_the_digest_of_a_secret_cannot_be_guessed(self, world: World) -> None:
        world.apply(declared(world.letter("a", text="hunter2")))
        for name in ("state.json", "key"):
            assert (world.root / "state" / name).stat().st_mode & 0o777 == 0o600
        assert "hunter2" not in (world.root / "state/state.json").read_text()
        first = world.state["letter:a"]["digest"]
        (world.root / "state/key").write_text("another\n")
        world.apply(declared(world.letter("a", text="hunter2")))
        assert world.state["letter:a"]["digest"] != first

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"resources": 3}', '{"resources": {"a": {}}}'])
    def test_a_damaged_state_file_counts_as_none(self, world: World, content: str) -> None:
        world.apply(declared(world.letter("a")))
        (world.root / "state/state.json").write_text(content)
        assert make_plan(world.session, declared()).gone == ()
        world.apply(declared(world.letter("a")))
        assert set(world.state) == {"letter:a"}


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


@dataclass(frozen=True)
class Driver(Letter):
    """Once it is there the host is another one to its roles."""

    redefines: ClassVar[bool] = True

    def remark(self, observed: str | None) -> str:
        return "waits for a reboot" if observed == "text" else ""


def rebooting(letter: Letter) -> Iterator[Step]:
    """Write the file, then reboot."""
    yield from put(letter)
    yield Reboot("an old one is loaded")


def driver(world: World, **fields: Any) -> Driver:
    return replace(Driver(str(world.root / "driver")), **fields)


def test_a_host_that_became_another_is_declared_anew_before_the_rest_is_done(world: World) -> None:
    first, last = world.letter("package"), world.letter("service")
    middle = driver(world, after=(first,), work=rebooting)
    toolkit = world.letter("toolkit")
    anew = declared(first, middle, toolkit, last)
    asked: list[str] = []

    def declare() -> Declared:
        asked.extend(sorted(path.name for path in world.root.iterdir() if path.is_file()))
        return anew

    job = HostApply(
        world.session, declared(first, middle, last), world.events.append, world.stop, "me", declare=declare
    )
    applied = job.run()
    assert asked == ["driver", "package"]
    assert [change.resource for change in applied.changed] == [
        "letter:package",
        "letter:driver",
        "letter:toolkit",
        "letter:service",
    ]
    assert (world.session.reboots, applied.unchanged) == (1, 0)
    assert "letter:toolkit" in world.state
    planned = [event for event in world.events if isinstance(event, HostPlanned)]
    assert [change.resource for change in planned[-1].changes] == ["letter:toolkit", "letter:service"]
    assert [event.text for event in world.events if isinstance(event, Note)] == ["waits for a reboot"]


def test_without_a_second_declaration_the_first_is_done_to_its_end(world: World) -> None:
    world.apply(declared(driver(world), world.letter("service")))
    assert (world.text("driver"), world.text("service")) == ("text", "text")


def test_one_that_turns_out_to_be_there_redefines_all_the_same(world: World) -> None:
    """As a module that its package loaded by itself."""
    first = world.letter(
        "package", work=scripted(f"echo -n text >{world.root}/package; echo -n text >{world.root}/driver")
    )
    middle = driver(world, after=(first,))
    declare = partial(declared, first, middle, world.letter("toolkit"))
    job = HostApply(world.session, declared(first, middle), world.events.append, world.stop, "me", declare=declare)
    job.run()
    assert world.text("toolkit") == "text"


def test_what_waits_is_told_by_every_run_and_in_the_plan(world: World) -> None:
    what = declared(driver(world))
    world.apply(what)
    assert world.apply(what).changed == []
    assert [event.text for event in world.events if isinstance(event, Note)] == ["waits for a reboot"]
    assert make_plan(world.session, what).remarks == ("waits for a reboot",)


def test_a_second_reboot_for_the_same_reason_is_a_failure(world: World) -> None:
    def in_vain(_: Letter) -> Iterator[Step]:
        yield Reboot("nouveau is bound")

    what = declared(driver(world, work=in_vain))
    job = HostApply(world.session, what, world.events.append, world.stop, "me", declare=lambda: what)
    with pytest.raises(ResourceFailed, match="letter:driver: did not converge"):
        job.run()
    assert world.session.reboots == 1


def test_models_are_judged_anew_by_the_gpu_that_works_now(world: World) -> None:
    first, last = driver(world), world.letter("model")
    seen: list[list[str]] = []

    def preflight(plan: Plan) -> None:
        seen.append([change.resource for change in plan.changes])
        if len(seen) == 2:
            raise HostRefused("here", "letter:model: does not fit", "nothing was touched")

    what = declared(first, last)
    job = HostApply(
        world.session, what, world.events.append, world.stop, "me", preflight=preflight, declare=lambda: what
    )
    with pytest.raises(HostRefused, match="letter:model: does not fit; what stood before it was done"):
        job.run()
    assert seen == [["letter:driver", "letter:model"], ["letter:model"]]
    assert (world.text("driver"), (world.root / "model").exists()) == ("text", False)
