"""A fleet whose hosts are replaced by their twins, and the proof of a test."""

import json
from pathlib import Path
from typing import Any

import pytest

from provision.engine.plan import Declared, Observation, Plan
from provision.engine.reach import target_of
from provision.engine.state import State
from provision.errors import InputError
from provision.inventory import Fleet, load
from provision.resources.base import Change
from provision.resources.docker_cli import Found
from provision.resources.file import File
from provision.resources.image import Image
from provision.resources.model_store import Store, Tag
from provision.resources.ollama_model import OllamaModel
from provision.resources.release import Installed, Release
from provision.roles import RoleSchemas
from provision.twin.fleet import replaced, settings_of, twinned
from provision.twin.folder import Folder
from provision.twin.hosts import TwinHost
from provision.twin.proof import Proof, digests
from provision.twin.settings import OVERLAY
from provision.verify.check import Result, Verdict

INVENTORY = """\
all:
  vars:
    ansible_user: anna
    ansible_password: {secret: env:NOT_SET_HERE}
    provision_roles: [ollama, models]
    artifacts: files
  children:
    inference:
      hosts:
        gpu01: {ansible_ssh_common_args: -J admin@gateway, address: 10.0.0.1}
        gpu02: {ansible_connection: local}
      vars:
        models: {"gpt-oss:20b": {}, helper: {from: "gpt-oss:20b"}}
        twin:
          settings: {models: {"gpt-oss:20b": {gguf: tiny.gguf}}}
    old:
      hosts: {server: {twin: {image: debian-12}}}
"""
TWINS = [
    TwinHost("gpu01", "c1", "i", "running", 20001, "172.18.0.2"),
    TwinHost("gpu02", "c2", "i", "running", 20002, "172.18.0.3"),
]


def read(folder: Path, text: str = INVENTORY) -> Fleet:
    path = folder / "inventory.yml"
    path.write_text(text)
    return load(path, RoleSchemas(path), environ={}, overlay=OVERLAY)


def test_hosts_are_reached_at_their_twins_and_nothing_else_changes(tmp_path: Path) -> None:
    fleet = read(tmp_path)
    made = twinned(fleet, TWINS, Folder(tmp_path / "twin"))
    assert list(made.hosts) == ["gpu01", "gpu02"]
    assert made.groups["inference"] == ("gpu01", "gpu02")
    assert made.groups["old"] == ()
    for twin in TWINS:
        host = made.hosts[twin.name]
        target = target_of(host)
        assert (target.kind, target.host, target.port, target.user) == ("ssh", "127.0.0.1", twin.port, "admin")
        assert (target.jump, target.password, target.become) == ((), None, True)
        assert host.address == twin.address
        assert host.roles == fleet.hosts[twin.name].roles
        assert host.settings == fleet.hosts[twin.name].settings
        assert host.artifacts == tmp_path / "files"
    assert twinned(fleet, TWINS, Folder(tmp_path), Path("/other")).hosts["gpu01"].artifacts == Path("/other")


def test_settings_are_laid_over_those_of_the_roles_and_told(tmp_path: Path) -> None:
    fleet = read(tmp_path)
    models = fleet.hosts["gpu01"].settings["models"].models  # type: ignore[attr-defined]
    assert models["gpt-oss:20b"].gguf == "tiny.gguf"
    assert models["helper"].base == "gpt-oss:20b"
    assert settings_of(fleet.hosts["server"]).image == "debian-12"
    assert replaced(fleet) == {
        "gpu01": {"settings": {"models": {"gpt-oss:20b": {"gguf": "tiny.gguf"}}}},
        "gpu02": {"settings": {"models": {"gpt-oss:20b": {"gguf": "tiny.gguf"}}}},
        "server": {"image": "debian-12"},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{image: debian-12}", "{image: debian-21}", "there is no twin image 'debian-21'"),
        ("{image: debian-12}", "{imag: debian-12}", "image"),
        (
            "{image: debian-12}",
            "{gpu: nvidia-mismach}",
            "no GPU profile 'nvidia-mismach'; did you mean 'nvidia-mismatch'?",
        ),
        ("settings: {models:", "settings: {modells:", "there is no role 'modells'"),
        ("{gguf: tiny.gguf}", "{guff: tiny.gguf}", "gguf"),
    ],
)
def test_a_mistake_in_it_has_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in INVENTORY
    with pytest.raises(InputError) as caught:
        read(tmp_path, INVENTORY.replace(old, new))
    assert message in str(caught.value)
    assert caught.value.mistakes[0].line > 0


def test_without_the_overlay_the_variable_has_no_effect(tmp_path: Path) -> None:
    read(tmp_path)
    path = tmp_path / "inventory.yml"
    fleet = load(path, RoleSchemas(path), environ={"NOT_SET_HERE": "x"})
    assert fleet.hosts["gpu01"].settings["models"].models["gpt-oss:20b"].gguf is None  # type: ignore[attr-defined]


CHANGE = Change("file:/etc/x", "create", "not there")
PASSED, FAILED = Result("a", "drift", Verdict("passed")), Result("a", "drift", Verdict("failed", "no"))


@pytest.mark.parametrize(
    ("proof", "passed"),
    [
        (Proof("i", left={"a": []}, second={"a": []}, checks=[PASSED]), True),
        (Proof("i"), False),
        (Proof("i", left={"a": [CHANGE]}, second={"a": []}, checks=[PASSED]), False),
        (Proof("i", left={"a": []}, second={"a": [CHANGE]}, checks=[PASSED]), False),
        (Proof("i", left={"a": []}, second={"a": []}, checks=[PASSED, FAILED]), False),
        (Proof("i", left={"a": []}, second={"a": []}), False),
        (Proof("i", left={"a": []}, second={"a": []}, checks=[PASSED], problems=["x"]), False),
    ],
)
def test_a_proof_passes_only_when_every_step_was_reached_and_found_nothing(proof: Proof, passed: bool) -> None:
    assert proof.passed is passed
    assert json.loads(proof.text())["passed"] is passed


def test_a_proof_names_changes() -> None:
    text = json.loads(Proof("i", first={"a": [CHANGE]}).text())
    assert text["first_run"] == {"a": ["create file:/etc/x"]}
    assert text["second_run"] is None


def test_a_proof_has_the_digests_of_what_is_there() -> None:
    release = Release("ollama", "0.9.3", ("https://releases/ollama.tgz",))
    tiny, gone, image, file = OllamaModel("tiny"), OllamaModel("gone"), Image("web:1"), File("/etc/x", "x")
    store = Store(tags={tiny.local.key: Tag("tiny:latest", "cc", 1)})
    observed: dict[str, Any] = {
        release.id: Installed("/opt/ollama/0.9.3/bin/ollama", "aa"),
        image.id: Found((("image", {"Id": "sha256:bb", "RepoTags": ["web:1"]}),)),
        tiny.id: store,
        gone.id: store,
        file.id: None,
    }
    declared = Declared.of("a", [("x", one) for one in (release, image, tiny, gone, file)])
    assert digests(Plan(declared, (), Observation(observed, State()))) == {
        "release:ollama": "aa",
        "image:web:1": "bb",
        tiny.id: "cc",
    }


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "twins" / "x")
    public = folder.make()
    assert public.startswith("ssh-ed25519 ")
    assert folder.make() == public
    assert folder.key.stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
