"""What a run remembers on the host of what it made."""

import pytest

from provision.engine.events import HostPlanned
from provision.engine.plan import Declared, make_plan
from tests.unit.engine.world import World, declared


def test_what_is_no_longer_declared_is_listed_and_left(world: World) -> None:
    world.apply(declared(world.letter("a"), world.letter("b")))
    plan = make_plan(world.session, declared(world.letter("a")))
    assert plan.gone == ("letter:b",)
    world.apply(declared(world.letter("a")))
    assert world.text("b") == "text"
    planned = next(event for event in world.events if isinstance(event, HostPlanned))
    assert planned.no_longer_declared == ("letter:b",)


def test_with_roles_only_theirs_are_missed(world: World) -> None:
    world.apply(Declared.of("here", [("one", world.letter("a")), ("two", world.letter("b"))]))
    plan = make_plan(world.session, declared(world.letter("c"), roles=("one",), role="one"))
    assert plan.gone == ("letter:a",)


def test_waits_are_not_owned(world: World) -> None:
    world.apply(declared(world.letter("a"), world.letter("w", owned=False)))
    assert set(world.state) == {"letter:a"}


def test_files_are_private_and_the_digest_of_a_secret_cannot_be_guessed(world: World) -> None:
    world.apply(declared(world.letter("a", text="hunter2")))
    for name in ("state.json", "key"):
        assert (world.root / "state" / name).stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in (world.root / "state/state.json").read_text()
    first = world.state["letter:a"]["digest"]
    (world.root / "state/key").write_text("another\n")
    world.apply(declared(world.letter("a", text="hunter2")))
    assert world.state["letter:a"]["digest"] != first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"resources": 3}', '{"resources": {"a": {}}}'])
def test_a_damaged_state_file_counts_as_none(world: World, content: str) -> None:
    world.apply(declared(world.letter("a")))
    (world.root / "state/state.json").write_text(content)
    assert make_plan(world.session, declared()).gone == ()
    world.apply(declared(world.letter("a")))
    assert set(world.state) == {"letter:a"}
