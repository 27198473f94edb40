"""A change after which a host is another one to its roles, such as a driver: the rest is declared anew."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pytest

from provision.engine.events import HostPlanned, Note
from provision.engine.plan import Declared, Plan, make_plan
from provision.errors import HostRefused, ResourceFailed
from provision.resources.base import Reboot, Step
from tests.unit.engine.world import Letter, World, declared, put, scripted


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

    applied = world.apply(declared(first, middle, last), declare=declare)
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
    world.apply(declared(first, middle), declare=declare)
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
    with pytest.raises(ResourceFailed, match="letter:driver: did not converge"):
        world.apply(what, declare=lambda: what)
    assert world.session.reboots == 1


def test_models_are_judged_anew_by_the_gpu_that_works_now(world: World) -> None:
    first, last = driver(world), world.letter("model")
    seen: list[list[str]] = []

    def preflight(plan: Plan) -> None:
        seen.append([change.resource for change in plan.changes])
        if len(seen) == 2:
            raise HostRefused("here", "letter:model: does not fit", "nothing was touched")

    what = declared(first, last)
    with pytest.raises(HostRefused, match="letter:model: does not fit; what stood before it was done"):
        world.apply(what, preflight=preflight, declare=lambda: what)
    assert seen == [["letter:driver", "letter:model"], ["letter:model"]]
    assert (world.text("driver"), (world.root / "model").exists()) == ("text", False)
