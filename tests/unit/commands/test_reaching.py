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


SILENT = """
from provision.engine.reach import Reach
from provision.host.session import Answer
class Silent:
    name = "a"
    def run(self, *_, **__): return Answer(0, b"", b"")
    def close(self): pass
Reach._open = lambda self, host: Silent()
"""
LOOK = """
import sys, threading
from pathlib import Path
class Noted:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread(): print(name)
sys.meta_path.insert(0, Noted())
from provision.commands.reaching import Options, reaching
from provision.errors import HostError
with reaching(Options("apply", Path(sys.argv[1]), "a")) as (_, _, reach):
    try: reach.host("a")
    except HostError as error: print(error, file=sys.stderr)
"""


@pytest.mark.parametrize(("before", "says"), [("", "refused"), (SILENT, "did not come to its end")])
def test_threads_load_nothing_that_the_main_thread_may_be_loading(inventory: Path, before: str, says: str) -> None:
    """A package and a module of it that two threads load at once wait for each other without end."""
    words = [sys.executable, "-c", before + LOOK, str(inventory)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert says in ran.stderr
    assert {name.partition(".")[0] for name in ran.stdout.split()} <= sys.stdlib_module_names
