"""All that an ordinary inventory declares, on every system of the kind that offices have: `plans/SYSTEM[-VARIANT].txt`.

Each line of these files is a resource, in the order in which it is made true: its role, its id, and what else a reader
cares about. They are read in review, like documentation; `UPDATE_SNAPSHOTS=1` writes them anew.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.engine.declare import Declarer
from provision.engine.reach import Reach
from provision.facts.model import Identity
from provision.facts.support import refusal
from provision.inventory.reader import load
from provision.resources.base import Resource
from provision.resources.cdi import CdiSpecification
from provision.resources.container import Container
from provision.resources.derived_model import DerivedModel
from provision.resources.docker_config import DockerConfig
from provision.resources.endpoint import Endpoint
from provision.resources.file import Absent, Directory, File
from provision.resources.host_firewall import HostFirewall
from provision.resources.models_directory import ModelsDirectory
from provision.resources.nvidia_driver import KernelHeaders, NvidiaDriver
from provision.resources.ollama_model import OllamaModel
from provision.resources.open_webui import DataGuard, Proof, StoredSettings
from provision.resources.package import Package
from provision.resources.release import Release
from provision.resources.repository import Repository
from provision.resources.selinux import SelinuxBoolean, SelinuxLabel
from provision.resources.service import Service
from provision.resources.user import User
from provision.roles import RoleSchemas
from tests.unit.facts.tree import cases, system

PLANS = Path(__file__).parent / "plans"
SYSTEMS = (
    "Debian 12",
    "Debian 13",
    "Ubuntu 22.04",
    "Ubuntu 24.04",
    "Ubuntu 26.04",
    "RHEL 9",
    "RHEL 10",
    "Rocky 9",
    "Rocky 10",
    "AlmaLinux 9",
    "AlmaLinux 10",
    "Oracle Linux 9",
    "Oracle Linux 10",
    "CentOS Stream 9",
    "CentOS Stream 10",
    "Fedora 43",
    "Amazon Linux 2023",
    "openSUSE Leap 15.6",
    "openSUSE Leap 16.0",
    "SLES 15 SP7",
    "Arch",
)
# Docker's own packages exist for these only.
DOCKERS = [name for name in SYSTEMS if not name.startswith(("Amazon", "openSUSE", "SLES", "Arch"))]
RELEASES = {case["name"]: case for case in cases("systems.yml") if case["name"] in SYSTEMS}
ENFORCING = ("Rocky 9", "Fedora 43")
GPU = next(case for case in cases("devices.yml") if case["name"] == "driver 580, the open flavour")
PLAIN = """
all:
  hosts:
    server:
      provision_roles: [base, docker, nvidia, ollama, models, open_webui]
      models:
        llama3.2:3b:
        assistant: {from: llama3.2:3b, system: Answer briefly.}
      open_webui:
        admin: {email: it@office.lan, password: {secret: env:WEBUI_ADMIN_PASSWORD}}
"""
DOCKER_CE = """
all:
  hosts:
    server:
      provision_roles: [docker]
      docker: {channel: docker-ce}
"""
# Suffix of the file -> what its first line says, whether there is a GPU, the inventory.
VARIANTS = {
    "": ("all roles, no GPU", False, PLAIN),
    "-nvidia": ("all roles, an NVIDIA GPU whose driver works", True, PLAIN),
    "-enforcing": ("all roles, an NVIDIA GPU whose driver works, SELinux enforcing", True, PLAIN),
    "-docker-ce": ("the role docker with channel: docker-ce", False, DOCKER_CE),
}


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_ADMIN_PASSWORD", "hunter2-hunter2")


def identity(folder: Path, name: str, gpu: bool, enforcing: bool = False) -> Identity:
    """What the real probe finds on such a system."""
    tree = system(folder, RELEASES[name])
    if enforcing:
        tree.file("sys/fs/selinux/enforce", "1")
    if gpu:
        for line in GPU["pci"]:
            tree.device(line)
        for path, content in GPU["files"].items():
            tree.file(path, content)
        tree.smi(GPU["smi"])
    found = tree.facts().identity
    assert refusal(found) is None
    assert (found.arch, found.nvidia_usable) == ("amd64", gpu)
    return found


def declared(folder: Path, host: Identity, inventory: str) -> tuple[tuple[str, Resource], ...]:
    """(role, resource) of the inventory's only host."""
    path = folder / "inventory.yml"
    path.write_text(inventory)
    fleet = load(path, RoleSchemas(path))
    return Declarer(fleet, Reach(fleet)).declare(fleet.hosts["server"], host).entries


def plan(folder: Path, name: str, variant: str) -> str:
    """The text of a snapshot."""
    title, gpu, inventory = VARIANTS[variant]
    entries = declared(folder, identity(folder / "tree", name, gpu, variant == "-enforcing"), inventory)
    return "".join([f"# {name}, amd64: {title}\n", *(line(role, resource) + "\n" for role, resource in entries)])


def line(role: str, resource: Resource) -> str:
    """One resource."""
    told = ", ".join(f"{key} {value}" for key, value in details(resource) if value)
    return f"{role:<10}  {resource.id}" + (f"  ({told})" if told else "")


def details(resource: Resource) -> Iterator[tuple[str, str]]:
    """What a reader cares about beside the id; what is empty is left out."""
    match resource:
        case Package():
            yield "by", resource.manager
        case Repository():
            yield "by", resource.manager
            yield "signed", resource.signed if resource.manager != "apt" else ""
            yield "uri", resource.uri
            yield "suite", resource.suites
            yield "components", resource.components
            yield "architecture", resource.architecture
            yield "key", str(resource.key)
        case Service():
            yield "unit", resource.unit
            states = {"enabled": resource.enabled, "running": resource.running}
            yield "is", " and ".join(state for state, wanted in states.items() if wanted)
            yield "restarted by", names(resource.restart_on)
        case File():
            yield from owned(resource.mode, resource.owner, resource.group)
            yield "content", "secret" if resource.sensitive else ""
        case Directory():
            yield from owned(resource.mode, resource.owner, resource.group)
        case ModelsDirectory():
            yield "owner", f"{resource.owner}:{resource.group}"
        case Absent():
            yield "because", resource.why
        case User():
            yield "home", resource.home
            yield "groups", "+".join(resource.groups)
        case Release():
            yield "version", resource.version
            yield "archive", str(resource.archive) if isinstance(resource.archive, Path) else " ".join(resource.archive)
            yield "over it", " ".join(one.file_name for one in resource.further)
        case DockerConfig():
            yield "keys", json.dumps(resource.wanted)
        case NvidiaDriver():
            yield "oldest", str(resource.minimum)
            yield "reboots", resource.reboot
            yield "modules", ("signed" if resource.signed else "built there") if resource.after else ""
        case KernelHeaders():
            yield "packages", " ".join(resource.package.names)
        case HostFirewall():
            yield "lets in", " ".join(f"{one.port}{one.interface and '@' + one.interface}" for one in resource.allowed)
        case SelinuxLabel():
            yield "type", resource.type
        case SelinuxBoolean():
            yield "is", "on" if resource.value else "off"
        case CdiSpecification():
            yield "driver", resource.driver
        case OllamaModel():
            yield "source", resource.source or ""
        case DerivedModel():
            yield "from", " ".join(resource.modelfile.sources)
        case DataGuard():
            yield "refuses", "to start anew beside older data"
        case StoredSettings():
            yield "keys", " ".join(sorted(resource.values))
        case Proof():
            yield "backends", " ".join(resource.backends)
        case Container():
            yield "image", resource.image if isinstance(resource.image, str) else resource.image.name
            yield "network", resource.network
            yield "devices", " ".join(resource.devices)
        case Endpoint():
            yield "answers", json.dumps(resource.expect) if resource.expect else str(resource.status)


def owned(mode: str, owner: str, group: str) -> Iterator[tuple[str, str]]:
    """Mode, and the owner where it is not root."""
    yield "mode", mode
    yield "owner", "" if (owner, group) == ("root", "root") else f"{owner}:{group}"


def names(resources: tuple[Resource, ...]) -> str:
    """Ids."""
    return " ".join(resource.id for resource in resources)


def file(name: str, variant: str) -> Path:
    """`plans/ubuntu-22.04-nvidia.txt`."""
    return PLANS / f"{name.lower().replace(' ', '-')}{variant}.txt"


ONLY = {"-docker-ce": DOCKERS, "-enforcing": ENFORCING}
SNAPSHOTS = [(name, variant) for name in SYSTEMS for variant in VARIANTS if name in ONLY.get(variant, SYSTEMS)]


@pytest.mark.parametrize(("name", "variant"), SNAPSHOTS)
def test_what_is_declared_is_what_was_reviewed(name: str, variant: str, tmp_path: Path) -> None:
    text, path = plan(tmp_path, name, variant), file(name, variant)
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(text)
    assert path.read_text().splitlines() == text.splitlines()


def test_no_snapshot_is_left_of_a_system_that_is_gone() -> None:
    assert set(PLANS.iterdir()) == {file(name, variant) for name, variant in SNAPSHOTS}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_gpu_adds_the_role_nvidia_and_changes_nothing_else(name: str, tmp_path: Path) -> None:
    """Compared as values, so that a unit's text or a container's specification may not differ either."""
    without, with_gpu = (declared(tmp_path, identity(tmp_path / str(gpu), name, gpu), PLAIN) for gpu in (False, True))
    assert {role for role, _ in with_gpu} - {role for role, _ in without} == {"nvidia"}
    assert tuple(entry for entry in with_gpu if entry[0] != "nvidia") == without


def test_the_same_twice_and_no_secret_is_shown(tmp_path: Path) -> None:
    host = identity(tmp_path / "tree", "Debian 13", True)
    first, second = (declared(tmp_path, host, PLAIN) for _ in range(2))
    assert first == second
    shown: list[Any] = [repr(first), *(resource.probe() for _, resource in first)]
    assert not [text for text in shown if "hunter2" in text]
