"""Finding and loading roles."""

import sys
from pathlib import Path

import pytest

from provision.data import data_root, fleet_root, search_path
from provision.errors import InputError
from provision.roles import RoleSchemas, load_role, role_files

ROLE = '''"""{text}"""

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True)
class Thing:
    """A dataclass looks its module up in sys.modules while it is made."""

    name: "str | None" = None


class Settings(BaseModel):
    """Nothing."""


def declare(host, want):
    """Nothing."""
    yield from ()
'''


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory" / "office.yml"
    path.parent.mkdir()
    path.write_text("all: {}\n")
    (tmp_path / "roles").mkdir()
    return path


def add(inventory: Path, name: str, text: str) -> None:
    (inventory.parents[1] / "roles" / f"{name}.py").write_text(text)


def test_built_in_roles_are_there() -> None:
    assert {"base", "docker", "nvidia", "ollama", "models", "open_webui"} <= set(RoleSchemas())
    assert (data_root() / "templates").is_dir()
    assert "ollama" in RoleSchemas() and "nothing" not in RoleSchemas()
    assert len(RoleSchemas()) == len(list(RoleSchemas()))


def test_a_fleets_own_roles_come_first(inventory: Path) -> None:
    add(inventory, "greeting", ROLE.format(text="Ours."))
    add(inventory, "base", ROLE.format(text="Our base."))
    add(inventory, "_helper", "raise SystemExit")
    assert load_role("greeting", inventory).__doc__ == "Ours."
    assert load_role("base", inventory).__doc__ == "Our base."
    assert load_role("base").__doc__ != "Our base."
    assert "_helper" not in role_files(inventory)
    assert search_path("roles", inventory)[0] == inventory.parents[1] / "roles"


def test_a_role_is_run_once(inventory: Path) -> None:
    add(inventory, "greeting", ROLE.format(text="Ours."))
    assert load_role("greeting", inventory) is load_role("greeting", inventory)
    assert sys.modules["provision_roles.greeting"] is load_role("greeting", inventory)


def test_roles_beside_an_inventory_that_is_not_in_a_folder_called_inventory(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.touch()
    assert fleet_root(path) == fleet_root(tmp_path) == tmp_path
    (tmp_path / "roles").mkdir()
    assert search_path("roles", path)[0] == tmp_path / "roles"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "greeting.py:1:"),
        ("\nimport no_such_module_anywhere\n", "greeting.py:2:1: ModuleNotFoundError: No module named"),
        ("\n\ndef f():\n    return nobody\n\n\nf()\n", "greeting.py:4:1: NameError: name 'nobody' is not defined"),
        ("x = 1\n", "a role has `class Settings(pydantic.BaseModel)` and `def declare(host, want)`"),
        ("from pydantic import BaseModel\nclass Settings(BaseModel): pass\n", "a role has `class Settings"),
    ],
)
def test_a_role_that_is_wrong_is_one_line_and_not_kept(inventory: Path, text: str, message: str) -> None:
    add(inventory, "greeting", text)
    with pytest.raises(InputError) as caught:
        load_role("greeting", inventory)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    add(inventory, "greeting", ROLE.format(text="Mended, and longer than before."))
    assert load_role("greeting", inventory).__doc__ == "Mended, and longer than before."


def test_an_unknown_role_says_the_nearest() -> None:
    with pytest.raises(InputError, match=r"there is no role 'olama'; did you mean 'ollama'\?"):
        load_role("olama")
    with pytest.raises(KeyError):
        RoleSchemas()["olama"]
