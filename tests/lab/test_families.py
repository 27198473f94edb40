"""Roles on stand-ins for other families: the family's os-release and its real package tools, on local repositories.

This proves the way packages take, not the distributions: the userland is Debian's.
"""

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from tests.lab import images
from tests.lab.cli import Office
from tests.lab.families import office_of
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.wait import until

# What tells that packages came by the family's own tool.
INSTALLED = {"rocky": "rpm -q", "opensuse": "rpm -q", "arch": "pacman -Q"}
ENGINE = {"rocky": "docker-ce docker-ce-cli containerd.io", "opensuse": "docker", "arch": "docker"}
CLOCK = {"rocky": "chronyd", "opensuse": "chronyd", "arch": "systemd-timesyncd"}


@pytest.fixture(scope="module")
def offices(
    hosts: Callable[..., LabHost], lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[LabHost, Office]]:
    """A family's host and its inventory; made at the first call."""
    made: dict[str, tuple[LabHost, Office]] = {}

    def start(family: str) -> tuple[LabHost, Office]:
        if family not in made:
            host = hosts(suite=family)
            made[family] = (host, office_of(tmp_path_factory.mktemp(family), lab, host, family))
        return made[family]

    return start


@pytest.mark.parametrize("family", images.FAMILIES)
def test_apply_then_nothing_to_do_then_verified(offices: Callable[[str], tuple[LabHost, Office]], family: str) -> None:
    host, office = offices(family)
    applied = office.check("apply", timeout=600)
    assert re.search(rf"^{family}  \d+ changed  \d+ unchanged  ", applied, re.MULTILINE)
    assert re.search(rf"^{family}  0 changed  ", office.check("apply"), re.MULTILINE)
    names = f"{ENGINE[family]} nftables zstd jq"
    host.check(f"{INSTALLED[family]} {names}; cd /usr/share/lab-packages && ls {names}")
    assert host.exec("command -v apt-get dpkg").out == ""
    assert json.loads(host.check("cat /etc/docker/daemon.json"))["live-restore"] is True
    assert host.check("docker version --format '{{.Server.Version}}'").strip()
    assert host.check(f"systemctl is-enabled {CLOCK[family]}").strip() == "enabled"
    verified = office.run("verify", "--json", timeout=300)
    assert verified.rc == 0, verified.out
    checks = {found["check"]: found["status"] for found in map(json.loads, verified.out.splitlines())}
    assert checks["packages"] == checks["generation tiny"] == checks["docker daemon"] == "passed"


# What cannot be installed, and the line that says why.
REFUSED = {
    "rocky": {
        "nosuch": "No match for argument: nosuch",
        "podman-docker": "conflicts with docker-ce",
        # Another package provides it: dnf finds nothing to do.
        "system-release": "dnf ended without an error, but these are not installed: system-release",
    },
    "opensuse": {"nosuch": "'nosuch' not found", "podman-docker": "conflicts with 'docker'"},
    "arch": {"nosuch": "target not found: nosuch", "podman-docker": "are in conflict"},
}


@pytest.mark.parametrize("family", images.FAMILIES)
def test_what_cannot_be_installed_is_said_in_one_line(
    offices: Callable[[str], tuple[LabHost, Office]], family: str
) -> None:
    host, office = offices(family)
    office.hosts[family]["provision_roles"] = ["base"]
    for name, why in REFUSED[family].items():
        office.variables["base"] = {"packages": [name]}
        ended = office.run("apply")
        assert ended.rc == 1
        assert [line for line in ended.out.splitlines() if f"+{name}" in line and why in line], ended.out
        assert host.exec("docker ps").rc == 0


def test_a_lock_that_is_held_is_waited_for_and_its_holder_named(
    offices: Callable[[str], tuple[LabHost, Office]],
) -> None:
    host, office = offices("rocky")
    host.check("rpm -e jq")
    office.hosts["rocky"]["provision_roles"] = ["base"]
    office.variables["base"] = {"packages": ["jq"]}
    lock = "/var/cache/dnf/metadata_lock.pid"
    script = f"echo $$ >{lock}; touch /run/held; until [ -e /run/let-go ]; do sleep 0.1; done; rm {lock}"
    held = subprocess.Popen(["docker", "exec", host.name, "sh", "-c", script])
    until(lambda: host.exec("ls /run/held").rc == 0, "the lock")
    process = office.start("apply", "--json")
    assert process.stdout
    try:
        line = next(line for line in process.stdout if "Waiting for the lock" in line)
    finally:
        host.check("touch /run/let-go")
    assert re.search(r"held by process \d+ \(sh\)", line)
    process.communicate(timeout=120)
    held.wait(timeout=30)
    assert process.returncode == 0
    host.check("rpm -q jq")
