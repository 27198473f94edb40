"""What lines of the package managers' output, recorded from the real ones, say to a reader."""

import subprocess
from pathlib import Path

import pytest

from provision.engine.script import probes
from provision.resources.base import Section
from provision.resources.managers import manager
from provision.resources.module_stream import ModuleStream
from provision.resources.package import Package

LINES = [
    ("apt", "Get:1 http://mirror.test trixie/main amd64 jq", "downloading trixie/main amd64 jq"),
    ("apt", "Reading package lists...", None),
    ("dnf", "  Installing       : jq-1.7.1-1.noarch                  1/2 ", "Installing : jq-1.7.1-1.noarch 1/2"),
    ("dnf", "(1/3): moby-engine.rpm  12 MB/s | 27 MB", "(1/3): moby-engine.rpm 12 MB/s | 27 MB"),
    ("dnf", "Waiting for the lock, held by process 35 (dnf)", "Waiting for the lock, held by process 35 (dnf)"),
    ("dnf", "Dependencies resolved.", None),
    ("dnf", " Installing:", None),
    ("zypper", "(2/2) Installing: zstd-1.5.5-1.noarch [..done]", "(2/2) Installing: zstd-1.5.5-1.noarch [..done]"),
    ("zypper", "Retrieving: gzip-1-1.noarch (lab) (1/2), 6 KiB", "Retrieving: gzip-1-1.noarch (lab) (1/2), 6 KiB"),
    ("zypper", "Loading repository data...", None),
    ("pacman", " zstd-1.5.5-1-any downloading...", "zstd-1.5.5-1-any downloading..."),
    ("pacman", "installing docker...", "installing docker..."),
    ("pacman", ":: Proceed with installation? [Y/n] ", None),
]


@pytest.mark.parametrize(("name", "line", "said"), LINES)
def test_progress(name: str, line: str, said: str | None) -> None:
    found = manager(name).progress(line)
    assert (found.text if found else None) == said


def test_packages_of_one_manager_are_asked_for_once(tmp_path: Path) -> None:
    """Each question reads the manager's whole database."""
    (tmp_path / "rpm").write_text(f"#!/bin/sh\necho asked >>{tmp_path}/log\necho jq installed 1.7\n")
    (tmp_path / "dnf").write_text("#!/bin/sh\n")
    for tool in ("rpm", "dnf"):
        (tmp_path / tool).chmod(0o755)
    wanted = (
        Package(("curl|curl-minimal", "jq"), "dnf"),
        Package(("docker-ce", "jq"), "dnf"),
        Package(("a",), "pacman"),
    )
    script = probes({one.id: one.probe() for one in wanted})
    ran = subprocess.run(
        ["sh", "-c", script.text], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=True
    )
    sections = script.parse(ran.stdout)
    assert [one.observe(sections[one.id]) for one in wanted[:2]] == [{"jq": "1.7"}] * 2
    assert (tmp_path / "log").read_text() == "asked\n"
    with pytest.raises(ValueError, match="pacman is not there"):
        wanted[2].observe(sections[wanted[2].id])


def test_a_file_of_dnf_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"dnf's file of the module nvidia-driver: .*no section headers"):
        ModuleStream("nvidia-driver", "open-dkms").observe(Section(0, b"nonsense\n"))


@pytest.mark.parametrize(
    ("status", "installed", "ended", "said"),
    [
        *((status, True, 0, "") for status in (0, 100, 101, 102, 103, 106, 107)),
        # It only looks successful: the last of them says that a script of the package failed.
        (0, False, 1, "zypper ended without an error, but these are not installed: jq"),
        (107, False, 1, "zypper ended without an error, but these are not installed: jq"),
        (104, True, 1, "'jq' not found in package names"),
        (8, False, 1, "'jq' not found in package names"),
    ],
)
def test_what_zypper_says_by_its_exit_status(
    tmp_path: Path, status: int, installed: bool, ended: int, said: str
) -> None:
    """zypper(8): from 100 on there is information, but 104 (no such name) is a failure."""
    programs = {
        "zypper": f"echo \"'jq' not found in package names.\"\nexit {status}",
        "rpm": "echo 'jq installed 1.7-1'" if installed else "echo 'package jq is not installed'; exit 1",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = manager("zypper").installing(("jq",))
    ran = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    last = (ran.stdout.splitlines() or [""])[-1].rstrip(".")
    assert (ran.returncode, last if said else "") == (ended, said)
