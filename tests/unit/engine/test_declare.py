"""Roles that are wrong themselves: one line with the place, and which host and role."""

from pathlib import Path

import pytest

from provision.engine.declare import Declarer
from provision.engine.plan import Declared, make_plan
from provision.engine.reach import Reach
from provision.errors import InputError, ResourceFailed
from provision.facts.model import OS, Identity
from provision.inventory import load
from provision.inventory.fleet import Fleet
from provision.roles import RoleSchemas
from provision.verify.host import ask_first, drift
from tests.unit.engine.world import World

DEBIAN = OS("debian", "13", "trixie", "Debian", "debian")
HOST = Identity("a", DEBIAN, "amd64", "6.12", "systemd", "none", "apt", "cpu", 2, 1 << 30)
ROLE = """\
from pydantic import BaseModel


class Settings(BaseModel):
    pass


def declare(host, want):
"""


RESOURCE = """\
from pydantic import BaseModel
from provision import Change, Docker, Job, Run


class Settings(BaseModel):
    pass


class Broken:
    id = "broken:one"

    def probe(self):
        {probe}

    def observe(self, section):
        {observe}

    def plan(self, observed, pending):
        {plan}

    def steps(self, change):
        {steps}

    def remark(self, observed):
        {remark}


def read(line):
    return line[99]


def declare(host, want):
    yield Broken()
"""
SOUND = {
    "probe": "return 'echo old'",
    "observe": "return section.text",
    "plan": "return Change(self.id, 'update', 'old')",
    "steps": "yield Run(':')",
    "remark": "return ''",
}


def fleet_with(folder: Path, role: str) -> Fleet:
    (folder / "roles").mkdir()
    (folder / "roles" / "mine.py").write_text(role)
    path = folder / "inventory.yml"
    path.write_text("all: {hosts: {a: {provision_roles: [mine]}}}\n")
    return load(path, RoleSchemas(path))


def declared_with(folder: Path, **bodies: str) -> Declared:
    fleet = fleet_with(folder, RESOURCE.format(**(SOUND | bodies)))
    return Declarer(fleet, Reach(fleet)).declare(fleet.hosts["a"], HOST)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("yield host.nothing", ":9:1: AttributeError: 'HostView' object has no attribute 'nothing'"),
        ("raise RuntimeError('a\\nb')\n    yield", ":9:1: RuntimeError: a b"),
        ("return None", ": TypeError: 'NoneType' object is not iterable"),
        ("yield 'curl'", ": TypeError: declare() gives 'curl', which is no resource"),
        ("raise ValueError('no room here')\n    yield", "a: role mine: no room here"),
    ],
)
def test_a_mistake_in_a_roles_program_is_told_with_its_place(tmp_path: Path, body: str, message: str) -> None:
    fleet = fleet_with(tmp_path, f"{ROLE}    {body}\n")
    with pytest.raises(InputError) as caught:
        Declarer(fleet, Reach(fleet)).declare(fleet.hosts["a"], HOST)
    assert str(caught.value).startswith("a: role mine: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        (
            "probe",
            "return self.nothing",
            "/roles/mine.py:13:1: AttributeError: 'Broken' object has no attribute 'nothing'",
        ),
        ("probe", "return None", "/roles/mine.py: TypeError: probe() gives None, which is no script"),
        ("observe", "return section.lines[7]", "/roles/mine.py:16:1: IndexError: list index out of range"),
        ("observe", "return next(iter(()))", "/roles/mine.py:16:1: StopIteration:"),
        ("plan", "return 1 / 0", "/roles/mine.py:19:1: ZeroDivisionError: division by zero"),
        ("plan", "return True", "/roles/mine.py: TypeError: plan() gives True, which is no change"),
        ("steps", "yield Run(quote('a'))", "/roles/mine.py:22:1: NameError: name 'quote' is not defined"),
        ("steps", "yield 'reboot'", "/roles/mine.py: TypeError: steps() gives 'reboot', which is no step"),
        ("steps", "yield None", "/roles/mine.py: TypeError: steps() gives None, which is no step"),
        ("steps", "yield Job('j', 'echo', read)", "/roles/mine.py:29:1: IndexError: string index out of range"),
        ("remark", "return 1 + observed", "/roles/mine.py:25:1: TypeError: unsupported operand"),
    ],
)
def test_a_mistake_in_a_resource_of_a_role_is_told_with_its_place(
    tmp_path: Path, world: World, method: str, body: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        world.apply(declared_with(tmp_path, **{method: body}))
    assert str(caught.value).startswith("a: role mine: broken:one: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    # what the engine does under the lock ended in order
    assert not (world.root / "state" / "state.json").exists() or world.state == {}


def test_a_resource_may_refuse_what_it_is_given_in_its_probe(tmp_path: Path, world: World) -> None:
    with pytest.raises(ResourceFailed, match="a: broken:one: no such unit"):
        world.apply(declared_with(tmp_path, probe="raise ValueError('no such unit')"))


def test_verify_tells_a_mistake_in_a_resource_too(tmp_path: Path, world: World) -> None:
    declared = declared_with(tmp_path, plan="return 1 / 0")
    answers = ask_first(world.session, declared, [])
    with pytest.raises(InputError, match=r"a: role mine: broken:one: .*mine\.py:19:1: ZeroDivisionError"):
        drift(declared, answers)


def test_a_mistake_in_what_a_role_says_of_its_ports_is_told_with_its_place(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path, f"{ROLE}    yield\n\n\ndef ports(host, want):\n    yield want.port\n")
    declarer = Declarer(fleet, Reach(fleet))
    with pytest.raises(InputError, match=r"a: role mine: .*/roles/mine\.py:13:1: AttributeError: 'Settings'"):
        declarer.ports(declarer.view(fleet.hosts["a"], HOST), "mine")


def test_a_mistake_in_what_a_role_checks_before_any_host_is_told_with_its_place(tmp_path: Path) -> None:
    fleet = fleet_with(tmp_path, f"{ROLE}    yield\n\n\ndef check(want, render, find):\n    return find('a').name\n")
    with pytest.raises(InputError, match=r"/roles/mine.py:13:1: AttributeError: 'NoneType'"):
        Declarer(fleet, Reach(fleet))


def test_a_remark_that_is_none_is_no_remark(tmp_path: Path, world: World) -> None:
    assert make_plan(world.session, declared_with(tmp_path, remark="return None")).remarks == ()
