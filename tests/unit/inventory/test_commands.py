"""check, schema and init as they are typed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.cli import run
from provision.inventory import load
from provision.roles import RoleSchemas

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "inventory").glob("*.yml"))
CHECKER = str(Path(sys.executable).with_name("check-jsonschema"))


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A fleet just begun, as the current directory."""
    monkeypatch.delenv("PROVISION_INVENTORY", raising=False)
    assert run(["init", str(tmp_path / "office")]) == 0
    capsys.readouterr()
    monkeypatch.chdir(tmp_path / "office")
    return tmp_path / "office"


def test_a_new_fleet_has_no_mistakes(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check"]) == 0
    assert capsys.readouterr().out == "inventory/office.yml: 3 hosts, 2 groups, 0 mistakes\n"


def test_check_shows_hosts_and_foreign_names_when_asked(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = fleet / "inventory" / "office.yml"
    text = inventory.read_text().replace("    ansible_user: admin\n", "    ansible_user: admin\n    ntp: x\n")
    inventory.write_text(text.replace("chat.office.lan: {}", "chat.office.lan: {ansible_timeout: 3}"))
    assert run(["check", "-v"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "warning: chat.office.lan: ansible_timeout has no effect here",
        "note: inventory/office.yml:6:5: 'ntp' means nothing here",
    ]
    assert "gpu01.office.lan  gpu01.office.lan  base docker nvidia ollama models" in lines


def test_check_says_every_mistake_and_exits_with_3(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = fleet / "inventory" / "office.yml"
    inventory.write_text(inventory.read_text().replace("listen: lan", "lisen: lan").replace("[web]", "[wep]"))
    (fleet / "secrets" / "webui-admin-password").unlink()
    assert run(["check"]) == 3
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[1] for line in out] == [
        "unknown key 'lisen'; did you mean 'listen'?",
        "there is no group or host 'wep'; did you mean 'web'?",
        "secret file:../secrets/webui-admin-password: the file ../secrets/webui-admin-password does not exist",
        "3 mistakes",
    ]
    assert out[0].startswith("inventory/office.yml:18:11: ")
    assert run(["check", "--json"]) == 3
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["mistakes"][0] == {
        "file": "inventory/office.yml",
        "line": 18,
        "column": 11,
        "message": "unknown key 'lisen'; did you mean 'listen'?",
    }


def test_check_reads_what_stands_in_for_the_rest_in_twins(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = fleet / "inventory" / "office.yml"
    text = inventory.read_text()
    assert "{source:" in text
    inventory.write_text(text.replace("{source:", "{sourze:"))
    assert run(["check"]) == 3
    assert "unknown key 'sourze'; did you mean 'source'?" in capsys.readouterr().out


def test_check_in_json(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "inventory": "inventory/office.yml",
        "hosts": 3,
        "groups": 2,
        "mistakes": [],
        "warnings": [],
        "foreign": [],
    }


def test_check_runs_no_secret_command(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = fleet / "inventory" / "office.yml"
    inventory.write_text(inventory.read_text().replace("file:../secrets/webui-admin-password", "'cmd:touch ran'"))
    assert run(["check"]) == 0
    assert not list(fleet.rglob("ran"))


def test_check_without_an_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROVISION_INVENTORY", raising=False)
    assert run(["check"]) == 3
    assert "no inventory here; name one with -i, or begin with `provision init DIR`" in capsys.readouterr().err


OFFICES = [path for path in EXAMPLES if path.stem != "lab"]


def test_the_labs_inventory_can_be_read() -> None:
    """`check` also looks for its files, which `make demo` builds."""
    path = ROOT / "inventory" / "lab.yml"
    fleet = load(path, RoleSchemas(path), need_secrets=False)
    assert not fleet.warnings and not fleet.foreign


@pytest.mark.parametrize("path", OFFICES, ids=lambda path: path.stem)
def test_examples_have_no_mistakes(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBUI_ADMIN_PASSWORD", "x")
    monkeypatch.chdir(ROOT)
    assert run(["check", "-v", "-i", str(path)]) == 0
    out = capsys.readouterr().out
    assert ", 0 mistakes" in out
    assert "warning" not in out and "note" not in out


def test_ansible_reads_the_examples(tmp_path: Path) -> None:
    sources = [word for path in EXAMPLES for word in ("-i", str(path))]
    command = [str(Path(sys.executable).with_name("ansible-inventory")), *sources, "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ)
    assert {"gpu04.office.lan", "localhost", "chat01"} <= json.loads(listed.stdout)["_meta"]["hostvars"].keys()
    assert "WARNING" not in listed.stderr


def check_schema(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHECKER, *arguments], capture_output=True, text=True, check=False)


def test_the_schema_accepts_the_examples_and_a_new_fleet(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    (fleet / "schema.json").write_text(capsys.readouterr().out)
    assert check_schema("--check-metaschema", "schema.json").returncode == 0
    found = check_schema("--schemafile", "schema.json", "inventory/office.yml", *map(str, EXAMPLES))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("listen: lan", "lisen: lan"),
        ("listen: lan", "listen: wan"),
        ("hosts:", "host:"),
        ("[base]", "[bose]"),
        ("secret: file:../", "secret: vault:"),
        ("email: admin", "email: [admin]\n            x: "),
    ],
)
def test_the_schema_refuses_mistakes(fleet: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str) -> None:
    assert run(["schema"]) == 0
    (fleet / "schema.json").write_text(capsys.readouterr().out)
    inventory = fleet / "inventory" / "office.yml"
    text = inventory.read_text()
    assert right in text
    inventory.write_text(text.replace(right, wrong))
    assert check_schema("--schemafile", "schema.json", str(inventory)).returncode == 1


def test_the_schema_takes_parts_of_settings_nulls_and_numbers_for_text(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["schema", "-i", "inventory/office.yml"]) == 0
    (fleet / "schema.json").write_text(capsys.readouterr().out)
    (fleet / "layer.yml").write_text(
        "all: {vars: {ollama: {version: 0.30, environment: ~, port: '1'}, open_webui: {admin: {email: a@b}},"
        " models: ~, ansible_password: {secret: env:X}, ntp: [x]}, hosts: h, children: {web: }}\n"
    )
    found = check_schema("--schemafile", "schema.json", "layer.yml")
    assert found.returncode == 0, found.stdout


def test_a_fleets_own_role_is_checked_and_in_the_schema(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fleet / "roles").mkdir()
    (fleet / "roles" / "motd.py").write_text(
        '"""A greeting."""\n\nfrom pydantic import BaseModel\n\n\nclass Settings(BaseModel, extra="forbid"):\n'
        '    """What can be set."""\n\n    text: str\n\n'
        '\ndef declare(host, want):\n    """Nothing."""\n    yield from ()\n'
    )
    inventory = fleet / "inventory" / "office.yml"
    inventory.write_text(inventory.read_text().replace("provision_roles: [base]", "provision_roles: [motd]"))
    text = inventory.read_text().replace("provision_roles: [base, docker, open_webui]", "provision_roles: [motd]")
    inventory.write_text(text)
    assert run(["check"]) == 3
    assert "motd: `text` is missing" in capsys.readouterr().out
    assert run(["schema"]) == 0
    assert "motd" in json.loads(capsys.readouterr().out)["$defs"]["variables"]["properties"]


def test_init_overwrites_nothing(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file()}
    (fleet / "requirements.txt").unlink()
    assert run(["init", str(fleet)]) == 3
    assert "README.md" in capsys.readouterr().err
    assert not (fleet / "requirements.txt").exists()
    assert all(path.read_bytes() == text for path, text in before.items() if path.name != "requirements.txt")


def test_init_names_the_fleet_after_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "Büro 2"
    assert run(["init", str(folder)]) == 0
    assert (folder / "inventory" / "B-ro-2.yml").is_file()
    assert "@" not in (folder / "tests" / "test_fleet.py").read_text()


def test_the_made_password_is_private_and_never_twice_the_same(tmp_path: Path) -> None:
    found = set()
    for name in ("a", "b"):
        assert run(["init", str(tmp_path / name)]) == 0
        path = tmp_path / name / "secrets" / "webui-admin-password"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        found.add(path.read_text())
    assert len(found) == 2
    assert "/secrets/" in (tmp_path / "a" / ".gitignore").read_text().splitlines()


def test_init_where_nothing_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(["init", str(tmp_path / "file" / "office")]) == 3
    assert "Not a directory" in capsys.readouterr().err


def test_the_first_test_of_a_new_fleet_passes_and_can_fail(fleet: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    assert subprocess.run(command, cwd=fleet, capture_output=True, check=False).returncode == 0
    inventory = fleet / "inventory" / "office.yml"
    inventory.write_text(inventory.read_text().replace("allow: [web]", "allow: [all]"))
    failed = subprocess.run(command, cwd=fleet, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "gpu01.office.lan" in failed.stdout


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        (".github/workflows/fleet.yml", ["--builtin-schema", "vendor.github-workflows"]),
        (".gitlab-ci.yml", ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_the_workflows_are_valid(fleet: Path, path: str, schema: list[str]) -> None:
    found = check_schema(*schema, path)
    assert found.returncode == 0, found.stdout + found.stderr


def test_jobs_of_pull_requests_have_no_secrets_and_no_runner_of_the_office(fleet: Path) -> None:
    text = (fleet / ".github/workflows/fleet.yml").read_text()
    workflow = yaml.safe_load(text)
    triggers = workflow[True]  # YAML 1.1 takes `on` for true.
    assert "pull_request" in triggers and "pull_request_target" not in triggers
    assert workflow["permissions"] == {"contents": "read"}
    test, verify = workflow["jobs"]["test"], workflow["jobs"]["verify"]
    assert "secrets." not in json.dumps(test) and "self-hosted" not in json.dumps(test)
    assert [step["run"] for step in test["steps"] if str(step.get("run")).startswith("provision")] == [
        "provision check -v",
        "provision twin test --junit twin/junit.xml --proof twin/proof.json",
    ]
    kept = [step["with"]["path"] for step in test["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept == ["twin/"]
    assert "refs/heads/main" in verify["if"] and "pull_request" not in verify["if"]
    gitlab = yaml.safe_load((fleet / ".gitlab-ci.yml").read_text())
    assert gitlab["twin"]["artifacts"]["reports"] == {"junit": "twin/junit.xml"}
    for job in ("check", "twin"):
        assert "FLEET_SSH_KEY" not in json.dumps(gitlab[job]) and "tags" not in gitlab[job]
    assert "schedule" in json.dumps(gitlab["verify"]["rules"])
