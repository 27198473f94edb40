import re
from pathlib import Path

import pytest

from provision.errors import InputError
from provision.inventory import load
from provision.resources.base import Pending, Section
from provision.resources.file import File
from provision.roles import RoleSchemas, load_role
from provision.templates import Templates
from provision.view import HostView
from tests.docs.pages import DOCS
from tests.unit.samples import SERVER


@pytest.fixture
def blocks() -> dict[str, list[str]]:
    """The page's code by language."""
    found: dict[str, list[str]] = {}
    for language, code in re.findall(r"```(\w+)\n(.*?)```", (DOCS / "writing-a-role.md").read_text(), re.DOTALL):
        found.setdefault(language, []).append(code)
    return found


@pytest.fixture
def fleet(tmp_path: Path, blocks: dict[str, list[str]]) -> Path:
    """The tutorial's fleet on disk."""
    for path, text in {
        "roles/greeting.py": blocks["python"][0],
        "templates/greeting/motd.j2": blocks["jinja"][0],
        "inventory.yml": blocks["yaml"][0],
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path / "inventory.yml"


def test_the_role_declares_what_the_page_says(fleet: Path) -> None:
    host = load(fleet, RoleSchemas(fleet)).match("all")[0]
    view = HostView(
        host.name,
        SERVER,
        host.roles,
        host.settings,
        host.vars,
        Templates.of(fleet).render,
        lambda _: None,
        lambda _: (),
    )
    package, greeting = load_role("greeting", fleet).declare(view, host.settings["greeting"])
    assert package.id == "package:pciutils"
    assert isinstance(greeting, File)
    assert greeting.content == "files.office.lan: files and backups (no GPU)\nCall the IT desk, 42.\n"


def test_a_misspelt_setting_is_a_mistake_with_its_place(fleet: Path) -> None:
    fleet.write_text(fleet.read_text().replace("purpose:", "purpos:"))
    with pytest.raises(InputError, match=r"inventory.yml:7:7: .*purpos.*purpose"):
        load(fleet, RoleSchemas(fleet))


def test_the_resource_plans_a_change_once(blocks: dict[str, list[str]]) -> None:
    names: dict[str, object] = {}
    exec(blocks["python"][1], names)
    zone = names["TimeZone"]
    assert callable(zone)
    berlin = zone("Europe/Berlin")
    observed = berlin.observe(Section(0, b"/usr/share/zoneinfo/Etc/UTC\n"))
    change = berlin.plan(observed, Pending())
    assert change.why == "Etc/UTC -> Europe/Berlin"
    assert [step.script for step in berlin.steps(change)] == ["timedatectl set-timezone Europe/Berlin\n"]
    assert berlin.plan("Europe/Berlin", Pending()) is None
