"""What is declared on hosts with every kind of GPU and driver: `gpus/NAME.txt`, one for each host of gpus.yml.

The first line says what the host is, then come the resources of the roles nvidia and ollama that depend on GPUs, and
what the plan says of the driver there. `UPDATE_SNAPSHOTS=1` writes them anew.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import InputError
from provision.facts.model import Identity
from provision.facts.support import refusal
from provision.resources.base import Change, Pending, Section
from provision.resources.file import File
from provision.resources.nvidia_driver import NvidiaDriver
from tests.unit.facts.tree import cases, system
from tests.unit.roles.test_plans import declared, line

HERE = Path(__file__).parent
PLANS = HERE / "gpus"
HOSTS: dict[str, dict[str, Any]] = {host["name"]: host for host in yaml.safe_load((HERE / "gpus.yml").read_text())}
SYSTEMS = {case["name"]: case for case in cases("systems.yml")}
DEVICES = {case["name"]: case for case in cases("devices.yml")}
# The same everywhere, and shown in plans/.
_ORDINARY = ("user:", "directory:", "models-directory:", "absent:", "service:ollama", "endpoint:")


def identity(folder: Path, host: dict[str, Any]) -> Identity:
    """What the real probe finds there."""
    case = SYSTEMS[host["system"]]
    arch = {"machine": host["machine"], "dpkg": "arm64"} if "machine" in host else {}
    tree = system(folder, case | arch)
    devices = DEVICES[host["devices"]]
    for one in devices.get("pci", ()):
        tree.device(one)
    if "kernel" in host:
        tree.file("proc/sys/kernel/osrelease", f"{host['kernel']}\n")
    for path, content in (devices.get("files", {}) | host.get("files", {})).items():
        tree.file(path, content)
    if "smi" in devices:
        tree.smi(devices["smi"])
    found = tree.facts().identity
    assert refusal(found) is None
    return found


def snapshot(folder: Path, host: dict[str, Any]) -> Iterator[str]:
    """The lines of a host's file."""
    found = identity(folder / "tree", host)
    kernel = f", kernel {host['kernel']}" if "kernel" in host else ""
    yield f"# {host['what']}; {host['system']}, {found.arch}{kernel}"
    settings = {"provision_roles": ["docker", "nvidia", "ollama"], "nvidia": host.get("nvidia", {})}
    try:
        entries = declared(folder, found, yaml.safe_dump({"all": {"hosts": {"server": settings}}}))
    except InputError as error:
        yield f"refused     {error}"
        return
    for role, resource in entries:
        if role != "docker" and not resource.id.startswith(_ORDINARY):
            yield line(role, resource)
            if isinstance(resource, File) and resource.path.startswith(("/etc/provision/", "/etc/apt/")):
                yield from (f"            | {text}" for text in str(resource.content).splitlines())
    yield from plan(host, [resource for _, resource in entries if isinstance(resource, NvidiaDriver)])


def plan(host: dict[str, Any], drivers: list[NvidiaDriver]) -> Iterator[str]:
    """What becomes of the driver."""
    assert bool(drivers) == ("driver" in host)
    for driver in drivers:
        observed = driver.observe(Section(0, host["driver"].encode()))
        # What installs it changes when there is something to install.
        earlier = {one.id: Change(one.id, "install", "") for one in driver.after} if driver.after else {}
        try:
            change = driver.plan(observed, Pending(earlier))
        except ValueError as error:
            yield f"plan        refused: {error}"
            return
        yield f"plan        {change.action}: {change.why}" if change else "plan        nothing to do about the driver"
        if note := driver.remark(observed):
            yield f"note        {note}"


@pytest.mark.parametrize("name", HOSTS)
def test_what_is_declared_for_a_gpu_is_what_was_reviewed(name: str, tmp_path: Path) -> None:
    text, path = "".join(f"{one}\n" for one in snapshot(tmp_path, HOSTS[name])), PLANS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(text)
    assert path.read_text().splitlines() == text.splitlines()


def test_no_snapshot_is_left_of_a_host_that_is_gone() -> None:
    assert {path.stem for path in PLANS.iterdir()} == set(HOSTS)
