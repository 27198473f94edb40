"""When the tests on real hosts are left out: only where the machine forbids them. All else is a failure."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab import __main__ as lab
from tests.lab import machine
from tests.lab.cache import Forbidden, LabError

ROOT = Path(__file__).parents[3]
BRIDGE = 'failed to start daemon: Error initializing network controller: error creating default "bridge" network'


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory before all others in PATH, and no Docker engine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return folder


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (f"{BRIDGE}: operation not permitted", Forbidden),
        ("failed to start daemon: mkdir /sys/fs/cgroup/docker: read-only file system", Forbidden),
        ("dockerd needs to be started with root privileges. To run dockerd in rootless mode ...", Forbidden),
        (
            "level=warning msg=x error=operation not permitted\nfailed to start daemon: no space left on device",
            LabError,
        ),
        ("", LabError),
    ],
)
def test_an_engine_that_ends_is_forbidden_only_when_the_kernel_refused_it(
    bin: Path, tmp_path: Path, said: str, kind: type[LabError]
) -> None:
    program(bin / "dockerd", f"cat <<'EOF'\n{said}\nEOF\nexit 1")
    with pytest.raises(LabError) as caught:
        machine.launch_engine(tmp_path / "dockerd.log")
    assert type(caught.value) is kind
    assert said in str(caught.value)


@pytest.mark.parametrize(("user", "code"), [(1000, lab.FORBIDDEN), (0, 1)])
def test_packages_that_cannot_be_installed(bin: Path, monkeypatch: pytest.MonkeyPatch, user: int, code: int) -> None:
    program(bin / "dpkg-query", "exit 1")
    program(bin / "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert lab.main(["prepare"]) == code


@pytest.mark.parametrize(("prepare", "code", "made"), [
    (0, 0, ["venv", "test"]),
    (77, 0, ["venv", "lint type unit"]),
    (1, 1, ["venv"]),
])  # fmt: skip
def test_ci_is_red_unless_the_lab_is_prepared_or_forbidden(
    bin: Path, tmp_path: Path, prepare: int, code: int, made: list[str]
) -> None:
    folder = tmp_path / "project"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci")
    program(bin / "make", f'echo "$*" >>{tmp_path}/made')
    program(folder / ".venv" / "bin" / "python", f"exit {prepare}")
    for name in ("git", "python3.11"):
        program(bin / name, "exit 0")
    ended = subprocess.run([folder / ".ci" / "run"], capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert (tmp_path / "made").read_text().splitlines() == made
    assert ("NOT RUN" in ended.stdout) == (prepare == 77)
