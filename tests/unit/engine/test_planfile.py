import json
from pathlib import Path

import pytest

from provision.commands.apply import is_plan_file
from provision.engine.plan import make_plan
from provision.engine.planfile import PlanFile
from provision.errors import HostRefused, InputError
from provision.inventory import load
from tests.unit.engine.world import Letter, ShSession, declared


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.yml"
    path.write_text("all:\n  hosts: {here: {}}\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/a.j2").write_text("a")
    return path


def test_a_plan_is_written_and_read_back(tmp_path: Path, inventory: Path) -> None:
    plan = make_plan(ShSession(tmp_path), declared(Letter(str(tmp_path / "a"), "the text")))
    made = PlanFile.of(load(inventory, {}), ["letters"], [plan])
    made.write(tmp_path / "plan.json")
    assert is_plan_file(str(tmp_path / "plan.json"))
    assert (tmp_path / "plan.json").stat().st_mode & 0o777 == 0o600
    assert PlanFile.read(tmp_path / "plan.json") == made
    assert "printf" not in (tmp_path / "plan.json").read_text()


def test_the_same_plan_is_accepted_and_another_refused(tmp_path: Path, inventory: Path) -> None:
    session = ShSession(tmp_path)
    letters = [Letter(str(tmp_path / name)) for name in "ab"]
    made = PlanFile.of(load(inventory, {}), None, [make_plan(session, declared(*letters))])
    made.check(make_plan(session, declared(*letters)))
    (tmp_path / "b").write_text("drifted")
    with pytest.raises(HostRefused, match="not the plan of the file: letter:b would be changed otherwise"):
        made.check(make_plan(session, declared(*letters)))


@pytest.mark.parametrize(
    ("file", "what"), [("inventory.yml", "inventory"), ("templates/a.j2", "templates"), ("templates/new", "templates")]
)
def test_another_input_is_refused_before_any_host_is_asked(
    tmp_path: Path, inventory: Path, file: str, what: str
) -> None:
    made = PlanFile.of(load(inventory, {}), None, [])
    made.check_inputs(load(inventory, {}))
    (tmp_path / file).write_text("all:\n  hosts: {here: {}, there: {}}\n")
    with pytest.raises(InputError, match=f"since this plan was made, {what} changed; make a new plan"):
        made.check_inputs(load(inventory, {}))


@pytest.mark.parametrize("content", ["{", "{}", '{"provision_plan": 1}', json.dumps({"provision_plan": 99})])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(InputError, match="plan"):
        PlanFile.read(tmp_path / "x")


@pytest.mark.parametrize("text", ["all", "gpu:!gpu03", "web*", "", "x\0y", "/"])
def test_a_pattern_is_not_taken_for_a_file(text: str) -> None:
    assert not is_plan_file(text)
