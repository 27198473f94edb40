"""`provision facts` on a real Debian 13 host, as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.facts import PATHS, parse, script
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab


def inventory(folder: Path, key: Path, **hosts: int) -> Path:
    """An inventory of hosts on ports of 127.0.0.1, without roles."""
    names = {name: {"ansible_host": "127.0.0.1", "ansible_port": port} for name, port in hosts.items()}
    every = {
        "ansible_user": "admin",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-F {folder / 'ssh_config'}",
    }
    path = folder / "fleet.yml"
    path.write_text(json.dumps({"all": {"hosts": names, "vars": every}}))
    return path


def provision(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program with a home of its own."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("provision")), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def home(host: LabHost, tmp_path: Path) -> Path:
    """A folder with a known_hosts that has the host's key, and the ssh_config that names it."""
    (tmp_path / "known_hosts").write_text(host.known_hosts)
    (tmp_path / "ssh_config").write_text(f"Host *\n  UserKnownHostsFile {tmp_path / 'known_hosts'}\n")
    return tmp_path


def test_json_says_what_the_host_itself_says(host: LabHost, lab: Lab, home: Path) -> None:
    ran = provision(home, "facts", "-i", str(inventory(home, lab.key, gpu01=host.port)), "--json")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    data: dict[str, Any] = json.loads(ran.stdout)
    identity, readings = data["identity"], data["readings"]
    assert (data["host"], data["refused"]) == ("gpu01", None)
    assert identity["hostname"] == host.check("hostname").strip()
    assert identity["kernel"] == host.check("uname -r").strip()
    assert identity["arch"] == host.check("dpkg --print-architecture").strip()
    assert identity["machine_id"] == host.check("cat /etc/machine-id").strip()
    assert identity["virtualization"] == host.check("systemd-detect-virt").strip()
    assert identity["memory"] == int(host.check("awk '/^MemTotal/{print $2}' /proc/meminfo")) * 1024
    assert identity["address"] == host.address
    assert (identity["os"]["id"], identity["os"]["version"], identity["os"]["codename"]) == ("debian", "13", "trixie")
    assert (identity["init"], identity["package_manager"]) == ("systemd", "apt")
    assert identity["groups"]["video"] == int(host.check("getent group video | cut -d: -f3"))
    assert [item["path"] for item in readings["file_systems"]] == list(PATHS)
    root = next(item for item in readings["file_systems"] if item["path"] == "/")
    assert root["size"] == int(host.check("df -P -k / | awk 'NR==2{print $2}'")) * 1024
    assert any(item["port"] == 22 and item["process"] in ("sshd", "systemd") for item in readings["listeners"])
    assert readings["docker"] == ""
    assert readings["uptime"] > 0


def test_the_table_names_hosts_and_the_unreachable_one_does_not_hide_the_others(
    host: LabHost, lab: Lab, home: Path
) -> None:
    ran = provision(home, "facts", "-i", str(inventory(home, lab.key, gpu01=host.port, gpu02=1)))
    assert ran.returncode == 4
    header, line = ran.stdout.splitlines()[:2]
    assert header.split()[:3] == ["host", "system", "arch"]
    assert line.startswith("gpu01")
    assert "Debian GNU/Linux 13 (trixie) [container]" in line
    assert ran.stderr.startswith("gpu02: ")
    assert len(ran.stderr.splitlines()) == 1


def test_a_pattern_that_names_nothing_is_wrong_input(lab: Lab, tmp_path: Path) -> None:
    ran = provision(tmp_path, "facts", "gpo01", "-i", str(inventory(tmp_path, lab.key, gpu01=1)))
    assert ran.returncode == 3
    assert "gpo01" in ran.stderr


def test_the_probe_leaves_nothing_and_changes_nothing(host: LabHost) -> None:
    look = "find / -xdev -path /proc -prune -o -path /sys -prune -o -newer /run/before -type f -print | sort"
    host.check("touch /run/before")
    host.put("/run/probe.sh", script(readings=True).encode())
    assert parse(host.check("sh /run/probe.sh").encode()).notes == ()
    host.check("rm /run/probe.sh")
    written = host.check(f"{look}; find /tmp -name 'provision*'").split()
    assert [path for path in written if not path.startswith("/var/log/")] == []


def test_the_probe_costs_a_host_little(host: LabHost) -> None:
    """Budget: 25 ms of CPU for the identity, 60 ms with the readings; half as much again where machines are shared."""
    for readings, budget in ((False, 25), (True, 60)):
        host.put("/run/probe.sh", script(readings=readings).encode())
        loop = "for i in 1 2 3 4 5 6 7 8 9 10; do sh /run/probe.sh >/dev/null; done; times"
        user, system = host.check(f"bash -c '{loop}'").splitlines()[-1].split()
        spent = sum(float(text.removeprefix("0m").removesuffix("s")) for text in (user, system)) * 1000 / 10
        print(f"readings={readings}: {spent:.1f} ms of CPU")
        assert spent <= budget * 1.5


def test_a_pretended_gpu_is_one_as_far_as_facts_go(hosts: Callable[..., LabHost]) -> None:
    host = hosts(suite="debian-12")
    device = "/srv/pretended/sys/bus/pci/devices/0000:01:00.0"
    for name, value in (("class", "0x030200"), ("vendor", "0x10de"), ("device", "0x2330")):
        host.put(f"{device}/{name}", f"{value}\n".encode())
    host.check(f"mkdir -p /srv/pretended/drivers/nvidia && ln -s /srv/pretended/drivers/nvidia {device}/driver")
    host.put("/srv/pretended/sys/module/nvidia/version", b"580.95.05\n")
    line = "00000000:01:00.0, 580.95.05, GPU-0123abcd-0000-1111-2222-333344445555, 81559, 0, 0, 30, NVIDIA H100, 9.0"
    host.put("/srv/pretended/usr/bin/nvidia-smi", f"#!/bin/sh\necho '{line}'\n".encode(), mode=0o755)
    host.put("/etc/provision/probe-root", b"/srv/pretended\n")
    host.put("/run/probe.sh", script(readings=True).encode())
    facts = parse(host.check("sh /run/probe.sh").encode())
    gpu = next(gpu for gpu in facts.identity.gpus if gpu.slot == "0000:01:00.0")
    assert (gpu.vendor, gpu.driver, gpu.name, gpu.target) == ("nvidia", "nvidia", "NVIDIA H100", "9.0")
    assert facts.identity.nvidia_usable
    # What is not pretended is the host's own.
    assert facts.identity.os.version == "12"
    assert facts.identity.arch == host.check("dpkg --print-architecture").strip()
