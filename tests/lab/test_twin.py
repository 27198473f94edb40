"""Twins on this machine's engine: made whole, repaired, removed; and the office's inventory tested with them."""

import json
import shutil
from collections.abc import Iterator

import pytest
import yaml

from provision.twin.gpus import Entry, packed
from tests.lab.cli import ROOT
from tests.lab.images import BASE_PACKAGES, SUITES, debootstrapped
from tests.lab.machine import client
from tests.lab.prepare import Lab
from tests.lab.twins import THREE, Fleet
from tests.lab.wait import until


@pytest.fixture
def of_no_family() -> Iterator[str]:
    """An image without an os-release."""
    image = "provision-lab/no-family:1"
    client().api.import_image_from_data(packed({"etc/motd": Entry(b"hello")}), repository=image[:-2], tag="1")
    yield image
    client().images.remove(image)


def test_a_twin_is_made_repaired_rebooted_and_removed(fleet: Fleet) -> None:
    assert fleet.check("twin", "up").count("started from") == 3
    first = fleet.containers()
    assert "started from" not in fleet.check("twin", "up")
    # Keys of all that run are known, whichever was asked for last.
    fleet.check("twin", "up", "b")
    assert fleet.containers() == first

    boot_id = ("twin", "ssh", "a.office.lan", "--", "cat", "/proc/sys/kernel/random/boot_id")
    before = fleet.check(*boot_id)
    fleet.run("twin", "ssh", "a.office.lan", "--", "sudo", "systemctl", "reboot")
    until(lambda: fleet.run(*boot_id).out.strip() not in ("", before.strip()), "another boot", 60)
    (mine,) = map(json.loads, fleet.check("twin", "list", "--json").splitlines())
    assert mine["inventory"] == str(fleet.path)
    assert {host["name"]: host["status"] for host in mine["hosts"]} == dict.fromkeys(first, "running")
    port = next(host["port"] for host in mine["hosts"] if host["name"] == "c")
    assert f"  c  port {port}  " in fleet.check("twin", "list")
    # Peers find each other by their inventory names.
    assert fleet.check("twin", "ssh", "b", "--", "getent", "hosts", "a.office.lan").strip()
    refused = fleet.run("twin", "ssh", "b", "--", "sudo", "sysctl", "-w", "vm.swappiness=60")
    assert refused.rc != 0

    client().containers.get(first["b"]).remove(force=True)
    client().containers.get(first["c"]).stop(timeout=1)
    assert fleet.check("twin", "up").count("started from") == 1
    assert fleet.containers()["a.office.lan"] == first["a.office.lan"]

    # A web server's backends come with it; what the inventory does not name any more goes.
    fleet.path.write_text(WEB)
    fleet.check("twin", "up", "web", PASSWORD="correct-horse")
    assert set(fleet.containers()) == {"a.office.lan", "b"}

    foreign = client().containers.create("provision-lab/debian-13:plain", labels={"provision.twin": "another"})
    try:
        # Also when the inventory is not there any more.
        fleet.path.unlink()
        fleet.check("twin", "down")
        assert fleet.containers() == {}
        foreign.reload()
    finally:
        foreign.remove()
    assert not list(fleet.folder.glob("state/provision/twins/*"))


WEB = """\
all:
  children:
    inference: {hosts: {a.office.lan: {provision_roles: [ollama]}}}
    web: {hosts: {b: {provision_roles: [docker, open_webui]}}}
    others: {hosts: {d: {}}}
  vars:
    open_webui: {backends: {group: inference}, admin: {email: it@office.lan, password: {secret: env:PASSWORD}}}
"""


def test_mistakes_have_one_line_and_leave_nothing(fleet: Fleet, of_no_family: str) -> None:
    fleet.write({"all": {"hosts": {"a": {"twin": {"image": "debian-31"}}}}})
    wrong = fleet.run("twin", "up")
    assert (wrong.rc, len(wrong.err.splitlines())) == (3, 1)
    assert "there is no twin image 'debian-31'" in wrong.err
    fleet.write({"all": {"hosts": {"a": {"twin": {"image": "127.0.0.1:1/office/server:9"}}}}})
    gone = fleet.run("twin", "up")
    assert (gone.rc, len(gone.err.splitlines())) == (3, 1)
    assert "the image 127.0.0.1:1/office/server:9 cannot be pulled: " in gone.err
    fleet.write({"all": {"hosts": {"a": {"twin": {"image": of_no_family}}}}})
    strange = fleet.run("twin", "up")
    assert (strange.rc, len(strange.err.splitlines())) == (3, 1)
    assert "has no os-release: twins are of the families debian, redhat, suse, arch" in strange.err
    fleet.write(THREE)
    nobody = fleet.run("twin", "up", DOCKER_HOST="unix:///nowhere.sock")
    assert (nobody.rc, len(nobody.err.splitlines())) == (3, 1)
    assert "none answers" in nobody.err
    afar = fleet.run("twin", "up", DOCKER_HOST="ssh://nowhere.invalid")
    assert (afar.rc, len(afar.err.splitlines())) == (3, 1)
    assert "DOCKER_HOST is ssh://nowhere.invalid: twins there cannot be reached" in afar.err
    for words, why in WRONG_WORDS.items():
        wrong = fleet.run("twin", "test", *words.split())
        assert (wrong.rc, len(wrong.err.splitlines())) == (3, 1)
        assert wrong.err.startswith(why)
    unknown = fleet.run("twin", "ssh", "d")
    assert unknown.rc == 3
    assert fleet.containers() == {}


WRONG_WORDS = {
    "b:!b": "the pattern 'b:!b' leaves no host of ",
    "--artifacts nowhere": "--artifacts: nowhere is no folder",
    "--junit /proc/twin.xml": "--junit: /proc/twin.xml cannot be written: No such file or directory",
    "--proof inventory": "--proof: inventory cannot be written: Is a directory",
}


def test_a_twin_is_built_on_any_image(fleet: Fleet) -> None:
    image = debootstrapped(SUITES["debian-13"], BASE_PACKAGES)
    fleet.write({"all": {"vars": {"provision_roles": []}, "hosts": {"a": {"twin": {"image": image}}}}})
    assert "started from provision-twin/provision-lab-base-trixie-" in fleet.check("twin", "up")
    assert "trixie" in fleet.check("twin", "ssh", "a", "--", "sudo", "cat", "/etc/os-release")


def test_a_role_that_is_not_idempotent_fails_the_test_and_is_told(fleet: Fleet) -> None:
    (fleet.folder / "roles").mkdir()
    (fleet.folder / "roles" / "restless.py").write_text(RESTLESS)
    fleet.write({"all": {"vars": {"provision_roles": ["restless"]}, "hosts": {"a": {}}}})
    result = fleet.run("twin", "test", "--proof", "proof.json")
    assert result.rc == 1, result.out + result.err
    assert "did not converge" in result.out + result.err
    assert json.loads((fleet.folder / "proof.json").read_text())["passed"] is False
    assert fleet.containers() == {}


RESTLESS = '''"""A file that is never as it was written."""

from provision import Change, Run
from pydantic import BaseModel


class Settings(BaseModel):
    pass


class Restless:
    id = "restless:file"

    def probe(self):
        return "date +%s%N"

    def observe(self, section):
        return section.text

    def plan(self, observed, pending):
        return Change(self.id, "touch", "it is another time")

    def steps(self, change):
        yield Run("true")


def declare(host, want):
    yield Restless()
'''


def test_the_offices_inventory_with_the_labs_artefacts(fleet: Fleet, lab: Lab) -> None:
    shutil.copy(ROOT / "inventory" / "office.yml", fleet.path)
    tiny = {"gguf": str(lab.artifacts / "tiny.gguf"), "source": None}
    old = {"ollama": {"version": "0.9.3", "allow_vulnerable": True}}
    for group, models in {"gpu": {"gpt-oss:20b": tiny}, "old": {"llama3.2:3b": tiny}}.items():
        variables = fleet.path.parent / "group_vars" / f"{group}.yml"
        variables.parent.mkdir(exist_ok=True)
        variables.write_text(yaml.safe_dump({"twin": {"settings": {**old, "models": models}}}))
    words = ("--artifacts", str(lab.artifacts), "--proof", "out/proof.json", "--junit", "junit.xml")
    said = fleet.check("twin", "test", *words, WEBUI_ADMIN_PASSWORD="a-password-of-the-office")
    assert "twin test: passed" in said
    proof = json.loads((fleet.folder / "out" / "proof.json").read_text())
    hosts = {"gpu01.office.lan", "gpu02.office.lan", "gpu03.office.lan", "gpu04.office.lan"}
    hosts |= {"server2017.office.lan", "chat.office.lan"}
    assert set(proof["hosts"]) == set(proof["first_run"]) == hosts
    assert all(proof["first_run"].values())
    assert not any(proof["left_after_first_run"].values())
    assert not any(proof["second_run"].values())
    assert proof["replaced"]["gpu01.office.lan"]["settings"]["models"]["gpt-oss:20b"]["gguf"] == tiny["gguf"]
    assert all(len(digest) == 64 for host in proof["digests"].values() for digest in host.values())
    assert {"release:ollama", "model:gpt-oss:20b", "model:office-assistant:latest"} <= set(
        proof["digests"]["gpu01.office.lan"]
    )
    assert any(name.startswith("image:") for name in proof["digests"]["chat.office.lan"])
    checks = {(one["host"], one["check"]): one["status"] for one in proof["checks"]}
    assert set(checks.values()) == {"passed"}
    assert ("gpu04.office.lan", "generation office-assistant") in checks
    assert ("chat.office.lan", "webui chat") in checks
    assert "a-password-of-the-office" not in said + json.dumps(proof)
    assert fleet.containers() == {}
