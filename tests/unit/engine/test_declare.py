"""Roles that are wrong themselves: one line with the place, and which host and role."""

from pathlib import Path

import pytest

from provision.engine.declare import Declarer
from provision.engine.reach import Reach
from provision.errors import InputError
from provision.facts.model import OS, Identity
from provision.inventory import load
from provision.roles import RoleSchemas

DEBIAN = OS("debian", "13", "trixie", "Debian", "debian")
HOST = Identity("a", DEBIAN, "amd64", "6.12", "systemd", "none", "apt", "cpu", 2, 1 << 30)
ROLE = """\
from pydantic import BaseModel


class Settings(BaseModel):
    pass


def declare(host, want):
"""


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
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "mine.py").write_text(f"{ROLE}    {body}\n")
    path = tmp_path / "inventory.yml"
    path.write_text("all: {hosts: {a: {provision_roles: [mine]}}}\n")
    fleet = load(path, RoleSchemas(path))
    with pytest.raises(InputError) as caught:
        Declarer(fleet, Reach(fleet)).declare(fleet.hosts["a"], HOST)
    assert str(caught.value).startswith("a: role mine: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
