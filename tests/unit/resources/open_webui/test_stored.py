"""The reader that runs in the container, on a database made like Open WebUI's."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.resources.base import Section
from provision.resources.open_webui.instance import Account, Instance, Stored, parse
from provision.values import canonical, sha256
from tests.unit.resources.open_webui import database

READER = Path(__file__).parents[4] / "provision/resources/open_webui/inside/stored.py"
EMAIL = "it@office.lan"
INSTANCE = Instance("open-webui", "http://127.0.0.1:8080", "/etc/provision/open-webui", EMAIL)


def ask(folder: Path, **question: Any) -> subprocess.CompletedProcess[str]:
    """Run the reader on `folder`."""
    asked = {
        "database": str(folder / "webui.db"),
        "secrets": str(folder),
        "proven": str(folder / "proven"),
        "email": EMAIL,
        "keys": [],
        "hashed": [],
        "group": "",
    }
    words = [sys.executable, "-S", "-E", str(READER), json.dumps(asked | question)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def read(folder: Path, **question: Any) -> Stored:
    """What the reader says, parsed."""
    ran = ask(folder, **question)
    assert ran.returncode == 0, ran.stderr
    return parse(ran.stdout)


def test_values_of_the_asked_keys_come_as_json(tmp_path: Path) -> None:
    config = {
        "ui.enable_signup": False,
        "ollama.base_urls": ["http://a:11434"],
        "user.permissions": {"chat": {"x": True}},
    }
    database.make(tmp_path / "webui.db", config=config)
    keys = ["ui.enable_signup", "ollama.base_urls", "user.permissions", "webui.url"]
    assert read(tmp_path, keys=keys).values == config


def test_of_a_secret_value_only_the_digest_of_its_canonical_json_comes(tmp_path: Path) -> None:
    value = {"b": "käse", "a": [1, {"z": None, "y": "sk-secret"}]}
    database.make(tmp_path / "webui.db", config={"openai.api_configs": value})
    ran = ask(tmp_path, hashed=["openai.api_configs", "openai.api_keys"])
    assert "sk-secret" not in ran.stdout
    assert parse(ran.stdout).hashes == {"openai.api_configs": sha256(canonical(value))}


def test_backends_that_gave_their_models_are_those_that_were_noted(tmp_path: Path) -> None:
    database.make(tmp_path / "webui.db")
    assert read(tmp_path).proven == frozenset()
    (tmp_path / "proven").write_text('["http://gpu01:11434"]')
    assert read(tmp_path).proven == {"http://gpu01:11434"}


@pytest.mark.parametrize(
    ("accounts", "proof", "expected"),
    [
        ({}, "", None),
        ({"other@office.lan": ("admin", True, "$2b$x")}, "", None),
        ({EMAIL: ("admin", True, "$2b$x")}, "", Account("admin", True, False)),
        ({EMAIL: ("admin", True, "$2b$x")}, "pw\n$2b$x", Account("admin", True, True)),
        ({EMAIL: ("admin", True, "$2b$new")}, "pw\n$2b$x", Account("admin", True, False)),
        ({EMAIL: ("admin", True, "$2b$x")}, "old\n$2b$x", Account("admin", True, False)),
        ({EMAIL: ("user", False, "$2b$x")}, "pw\n$2b$x", Account("user", False, True)),
        ({"It@Office.lan": ("admin", True, "$2b$x")}, "", Account("admin", True, False)),
    ],
    ids=["empty", "others", "unproven", "proven", "changed in the UI", "changed in the inventory", "demoted", "case"],
)
def test_the_account_is_proven_only_for_this_password_and_this_hash(
    tmp_path: Path, accounts: Any, proof: str, expected: Account | None
) -> None:
    database.make(tmp_path / "webui.db", accounts=accounts)
    (tmp_path / "admin_password").write_text("pw")
    if proof:
        (tmp_path / "admin_proof").write_text(hashlib.sha256(proof.encode()).hexdigest() + "\n")
    stored = read(tmp_path)
    assert stored.admin == expected
    assert stored.users == len(accounts)


def test_the_grants_of_the_named_group_are_read_and_no_others(tmp_path: Path) -> None:
    grants = (("tiny:latest", "group", "g1"), ("other:latest", "group", "g2"), ("big:latest", "user", "*"))
    database.make(tmp_path / "webui.db", groups={"staff": "g1", "board": "g2"}, grants=grants)
    stored = read(tmp_path, group="staff")
    assert (stored.group, stored.granted) == ("g1", frozenset({"tiny:latest"}))
    assert read(tmp_path, group="nobody").group is None


def test_a_missing_database_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    assert ask(tmp_path).returncode != 0
    assert not (tmp_path / "webui.db").exists()


def test_a_container_that_does_not_answer_is_unknown_with_the_reason() -> None:
    section = Section(1, b"", b"Error response from daemon: No such container: open-webui\n")
    assert INSTANCE.observe(section) == Stored(complaint="Error response from daemon: No such container: open-webui")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"users": 1}', '{"users": "many", "admin": null}'])
def test_an_answer_that_is_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        INSTANCE.observe(Section(0, text.encode()))


def test_the_database_is_asked_once_a_run(tmp_path: Path) -> None:
    """A stand-in `docker` on PATH counts its calls: the fragment is sh, Docker's behaviour is not at stake."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/docker"
    fake.write_text('#!/bin/sh\necho called >>"$COUNT"\necho answer\n')
    fake.chmod(0o755)
    count = tmp_path / "count"
    environ = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "COUNT": str(count), "PROVISION_TMP": str(tmp_path)}
    for shell in ("dash", "bash"):
        count.write_text("")
        for old in tmp_path.glob("open-webui-*"):
            old.unlink()
        script = "\n".join(f"( {INSTANCE.probe()} )" for _ in range(3))
        ran = subprocess.run([shell, "-c", script], env=environ, capture_output=True, text=True, check=True)
        assert ran.stdout == "answer\n" * 3
        assert count.read_text() == "called\n"
