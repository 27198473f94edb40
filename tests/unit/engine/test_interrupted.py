"""Runs that are ended from outside, by Ctrl-C or by a lost connection, and the run after them."""

from collections.abc import Iterator

import pytest

from provision.engine.events import Note
from provision.errors import Interrupted, SessionLost
from provision.resources.base import Step
from tests.unit.engine.world import Letter, World, by_job, declared, put


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
