"""Hosts are logged in to while their settings are read."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from provision.commands.reaching import Options, reaching
from provision.engine.reach import Reach
from provision.errors import InputError

INVENTORY = """
all:
  vars: {provision_roles: [base], ansible_host: 127.0.0.1, ansible_port: 1}
  hosts: {a: {}, b: {}, c: {}}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    file = tmp_path / "inventory.yml"
    file.write_text(INVENTORY)
    return file


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the hosts that are logged in to ahead of their turn."""
    names: list[str] = []

    def begin(_: Reach, hosts: Iterable[str]) -> None:
        names.extend(hosts)

    monkeypatch.setattr(Reach, "begin", begin)
    return names


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"pattern": "b"}, ["b"]),
        ({"forks": 2}, ["a", "b"]),
        ({"batch": ("1",)}, []),
    ],
)
def test_the_first_hosts_that_are_meant(
    inventory: Path, begun: list[str], options: dict[str, object], expected: list[str]
) -> None:
    with reaching(Options("apply", inventory, **options)):  # type: ignore[arg-type]
        assert begun == expected


def test_none_before_its_password_is_typed(inventory: Path, begun: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _prompt: "typed")
    with reaching(Options("apply", inventory, ask_pass=True)) as (_, _, reach):
        assert begun == []
        assert reach.password and reach.password.reveal() == "typed"


@pytest.mark.parametrize(
    ("wrong", "begins"),
    [("ansible_port: nine", False), ("base: {swop: 1}", True), ("provision_roles: [bass]", True)],
)
def test_a_mistake_is_told_as_before(inventory: Path, begun: list[str], wrong: str, begins: bool) -> None:
    inventory.write_text(INVENTORY.replace("a: {}", f"a: {{{wrong}}}"))
    with pytest.raises(InputError), reaching(Options("apply", inventory)):
        pass
    assert bool(begun) == begins


def test_a_pattern_that_names_nothing_is_told_after_mistakes_in_settings(inventory: Path, begun: list[str]) -> None:
    inventory.write_text(INVENTORY.replace("a: {}", "a: {base: {swop: 1}}"))
    with pytest.raises(InputError, match="swop"), reaching(Options("apply", inventory, "nobody")):
        pass
    inventory.write_text(INVENTORY)
    with pytest.raises(InputError, match="nobody"), reaching(Options("apply", inventory, "nobody")):
        pass
    assert begun == []


def test_a_host_that_is_down_does_not_hide_a_mistake(inventory: Path) -> None:
    inventory.write_text(INVENTORY.replace("a: {}", "a: {base: {swop: 1}}"))
    with pytest.raises(InputError, match="unknown key 'swop'"), reaching(Options("apply", inventory)):
        pass


@pytest.mark.parametrize("later", ["pydantic", "jinja2", "paramiko", "provision.facts", "provision.engine.plan"])
def test_what_no_login_needs_is_loaded_after_it_began(later: str) -> None:
    look = f"import sys, provision.commands.reaching; sys.exit({later!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
