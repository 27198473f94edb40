"""Pretended hosts: a directory that stands for `/`, on which the real probe runs."""

import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from provision.facts import Facts, parse, script
from provision.values import quote

HERE = Path(__file__).parent
# All that the probe needs of a host; the stand-in commands are shell scripts and need `cat` and `sleep`.
TOOLS = [
    "cat",
    "date",
    "grep",
    "head",
    "mkfifo",
    "mktemp",
    "od",
    "readlink",
    "rm",
    "sed",
    "sleep",
    "stat",
    "tail",
    "timeout",
    "tr",
]


def cases(file: str) -> list[dict[str, Any]]:
    """The cases of a YAML file beside this module."""
    return list(yaml.safe_load((HERE / file).read_text()))


class Tree:
    """A root directory under construction. Only what is put into it exists for the probe, the tools apart."""

    def __init__(self, where: Path, machine: str = "x86_64", init: str = "systemd", busybox: str = "") -> None:
        self.root = where / "root"
        self.tools = where / "tools"
        self.tools.mkdir(parents=True)
        for name in TOOLS:
            (self.tools / name).symlink_to(busybox or shutil.which(name) or f"/missing/{name}")
        self.file("proc/sys/kernel/hostname", "gpu01\n")
        self.file("proc/sys/kernel/osrelease", "6.12.43+deb13-amd64\n")
        self.file("proc/meminfo", "MemTotal:       65787400 kB\nMemFree: 1 kB\nMemAvailable:   60000000 kB\n")
        self.file("proc/cpuinfo", "processor\t: 0\nmodel name\t: A  fast  CPU\nflags\t\t: fpu vme lm\n\n")
        self.file("sys/devices/system/cpu/online", "0-15\n")
        self.file("etc/group", "root:x:0:\nvideo:x:44:\nrender:x:993:ollama\nrenderers:x:7:\n")
        self.file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.file("proc/1/comm", f"{init}\n")
        if init == "systemd":
            self.file("run/systemd/system/.keep", "")
        self.command("uname", f"echo {quote(machine)}")
        self.command("getconf", "echo 64")
        self.command("ip", "echo '192.0.2.1 via 10.0.0.1 dev eth0 src 10.0.0.5 uid 0'")

    def file(self, path: str, content: str | bytes) -> None:
        """Write a file, with its directories. A string's surrogates stand for bytes."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))

    def command(self, name: str, body: str = "exit 0", folder: str = "usr/bin") -> None:
        """Put a shell script of that name on the probe's PATH."""
        self.file(f"{folder}/{name}", f"#!/bin/sh\n{body}\n")
        path = self.root / folder / name
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def device(self, line: str) -> None:
        """A PCI device: slot, class, vendor, device and, where bound, the driver."""
        slot, klass, vendor, device, *driver = line.split()
        folder = f"sys/bus/pci/devices/{slot}"
        for name, value in (("class", klass), ("vendor", vendor), ("device", device)):
            self.file(f"{folder}/{name}", f"{value}\n")
        if driver:
            (self.root / folder / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver[0]}")

    def smi(self, what: Mapping[str, Any]) -> None:
        """An `nvidia-smi` that prints `out` and ends with `status`, hangs, or does not know a field."""
        body = f"printf %s {quote(what.get('out', ''))}; exit {what.get('status', 0)}"
        if unknown := what.get("unknown"):
            refuse = f'echo "Field \\"{unknown}\\" is not a valid field to query."; exit 2'
            body = f"case $1 in *{unknown}*) {refuse};; esac; {body}"
        if what.get("hang"):
            body = "exec sleep 5"
            self.impatient()
        self.command("nvidia-smi", body, what.get("at", "usr/bin"))

    def impatient(self) -> None:
        """Time limits of a fifth of a second, lest a test waits for ten."""
        real = quote(shutil.which("timeout") or "")
        body = f'[ "$1" = -k ] && shift 2\nshift\nexec {real} -k 0.2 0.2 "$@"'
        self.command("timeout", body)

    def output(self, shell: Iterable[str] = ("sh",), readings: bool = False, paths: Iterable[str] = ()) -> bytes:
        """What the probe prints on this tree."""
        name, *arguments = shell
        ran = subprocess.run(
            [shutil.which(name) or name, *arguments, "-c", script(readings, paths)],
            env={"PATH": str(self.tools), "PROVISION_PROBE_ROOT": str(self.root), "TMPDIR": str(self.tools)},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert ran.stderr == b""
        assert sorted(item.name for item in self.tools.iterdir()) == TOOLS, "the probe left something behind"
        return ran.stdout

    def facts(self, shell: Iterable[str] = ("sh",), readings: bool = False, paths: Iterable[str] = ()) -> Facts:
        """The facts of this tree."""
        return parse(self.output(shell, readings, paths))


def system(where: Path, case: Mapping[str, Any], busybox: str = "") -> Tree:
    """The tree of a case of systems.yml; with a path of busybox, its applets are the only tools."""
    tree = Tree(where, case.get("machine", "x86_64"), case.get("init", "systemd"), busybox)
    if "release" in case:
        tree.file("etc/os-release", case["release"])
    for name in case.get("commands", ()):
        tree.command(name)
    if "apt-get" in case.get("commands", ()):
        tree.command("dpkg", f"echo {case.get('dpkg', 'amd64')}")
    tree.command("getconf", f"echo {case.get('long_bit', 64)}")
    for path, content in case.get("files", {}).items():
        tree.file(path, content)
    return tree


def devices(where: Path, case: Mapping[str, Any], busybox: str = "") -> Tree:
    """The tree of a case of devices.yml, on a Debian 13."""
    tree = Tree(where, busybox=busybox)
    tree.file("etc/os-release", 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nPRETTY_NAME="Debian 13"\n')
    tree.command("apt-get")
    tree.command("dpkg", "echo amd64")
    for line in case.get("pci", ()):
        tree.device(line)
    for path, content in case.get("files", {}).items():
        tree.file(path, content)
    if "smi" in case:
        tree.smi(case["smi"])
    return tree


def check_system(facts: Facts, expect: Mapping[str, Any]) -> None:
    """Each expected value is the identity's, or else its operating system's."""
    for name, value in expect.items():
        owner: object = facts.identity if hasattr(facts.identity, name) else facts.identity.os
        seen = getattr(owner, name)
        if isinstance(seen, frozenset):
            seen = sorted(seen)
        elif isinstance(seen, tuple):
            seen = list(seen)
        assert (name, seen) == (name, value)


def check_devices(facts: Facts, case: Mapping[str, Any]) -> None:
    """The GPUs, their loads, the identity and the notes that the case names."""
    gpus, loads = facts.identity.gpus, facts.readings.gpus
    assert len(gpus) == len(case["gpus"])
    for gpu, expected in zip(gpus, case["gpus"], strict=True):
        assert {name: getattr(gpu, name) for name in expected} == expected
    for load, expected in zip(loads, case.get("loads", loads), strict=True):
        if isinstance(expected, Mapping):
            assert {name: getattr(load, name) for name in expected} == expected
    check_system(facts, case.get("expect", {}))
    notes = [note for note in facts.notes if "nvidia-smi" in note]
    assert len(notes) == ("note" in case)
    assert all(case["note"] in note for note in notes)
