"""The probe in every shell that a host may have, and its style. Starts no host; `make prepare` installs the shells."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import provision.facts
import provision.twin
from tests.unit.facts.tree import cases, check_devices, check_system, devices, system

CASES: list[tuple[str, dict[str, Any]]] = [
    *(("systems.yml", case) for case in cases("systems.yml")),
    *(("devices.yml", case) for case in cases("devices.yml")),
]
SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: " ".join(shell))
def test_every_case_is_the_same_in_every_shell(shell: tuple[str, ...], tmp_path: Path) -> None:
    """Under busybox its own applets are the only tools there are."""
    busybox = shutil.which("busybox") or "" if shell[0] == "busybox" else ""
    assert shutil.which(shell[0]), f"{shell[0]} is not installed: run `make prepare`"
    for number, (file, case) in enumerate(CASES):
        where = tmp_path / str(number)
        if file == "systems.yml":
            check_system(system(where, case, busybox).facts(shell), case["expect"])
        else:
            check_devices(devices(where, case, busybox).facts(shell), case)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: " ".join(shell))
def test_df_is_understood_in_every_shell(shell: tuple[str, ...], tmp_path: Path) -> None:
    busybox = shutil.which("busybox") or "" if shell[0] == "busybox" else ""
    tree = system(tmp_path, CASES[0][1], busybox)
    (tree.root / "usr/bin/df").symlink_to(busybox or shutil.which("df") or "/missing")
    now = tree.facts(shell, readings=True, paths=["/no such/directory"]).readings
    assert [item.path for item in now.file_systems][-1] == "/no such/directory"
    assert all(item.size >= item.free > 0 and item.kind for item in now.file_systems if item.mount == "/")


def test_shellcheck_finds_nothing() -> None:
    twin = Path(provision.twin.__file__).parent
    paths = (
        Path(provision.facts.__file__).with_name("probe.sh"),
        *twin.glob("gpu/*"),
        *twin.glob("images/[a-z]*[a-z]"),
    )
    scripts = [str(path) for path in paths if path.suffix != ".Dockerfile"]
    assert len(scripts) == 5
    ran = subprocess.run(["shellcheck", "-s", "sh", *scripts], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")
