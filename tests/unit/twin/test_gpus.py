"""GPU profiles of twins: the real probe finds in each what it finds on a server of that kind."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from provision.facts.model import Facts
from provision.twin.gpus import PROFILES, ROOT, overlay
from tests.unit.facts.tree import Tree, check_devices

SLOT = "0000:01:00.0"
RTX_3090 = {"slot": SLOT, "vendor": "nvidia", "driver": "nvidia", "name": "NVIDIA GeForce RTX 3090"}
HEALTHY = {"nvidia_driver": "580.95.05", "nvidia_smi": "580.95.05", "nvidia_usable": True}
BROKEN = {"nvidia_smi": "", "nvidia_usable": False}
CASES: dict[str, dict[str, Any]] = {
    "nvidia-rtx-4090": {
        "gpus": [{"slot": SLOT, "device": "2684", "driver": "nvidia", "memory": 24564 << 20, "target": "8.9"}],
        "expect": {**HEALTHY, "nvidia_open": True},
    },
    "nvidia-2x-rtx-3090": {
        "gpus": [RTX_3090 | {"memory": 24 << 30, "target": "8.6"}, RTX_3090 | {"slot": "0000:02:00.0"}],
        "loads": [{"slot": SLOT, "memory_used": 512 << 20, "temperature": 41}, {"slot": "0000:02:00.0"}],
        "expect": HEALTHY,
    },
    "nvidia-v100": {
        "gpus": [{"name": "Tesla V100-PCIE-32GB", "memory": 32 << 30, "target": "7.0"}],
        "expect": {**HEALTHY, "nvidia_open": False},
    },
    "nvidia-gb10": {
        "gpus": [{"name": "NVIDIA GB10", "memory": 0, "target": "12.1"}],
        "loads": [{"memory_used": None, "temperature": 41}],
        "expect": HEALTHY,
    },
    "amd-mi300x": {
        "gpus": [{"vendor": "amd", "driver": "amdgpu", "memory": 206141652992, "target": "gfx942"}],
        "expect": {"amd_kfd": True, "nvidia_usable": False},
    },
    "nvidia-no-driver": {"gpus": [{"vendor": "nvidia", "driver": ""}], "expect": {"nvidia_driver": "", **BROKEN}},
    "nvidia-not-loaded": {
        "gpus": [{"vendor": "nvidia", "driver": ""}],
        "expect": {"nvidia_driver": "", **BROKEN},
        "note": "couldn't communicate with the NVIDIA driver",
    },
    "nvidia-old-driver": {
        "gpus": [{"name": "NVIDIA GeForce GTX 1080", "memory": 8119 << 20, "target": ""}],
        "expect": {"nvidia_driver": "470.256.02", "nvidia_smi": "470.256.02"},
    },
    "nvidia-mismatch": {
        "gpus": [RTX_3090 | {"memory": 0}],
        "expect": {"nvidia_driver": "570.133.20", **BROKEN},
        "note": "newer than the loaded kernel module: reboot the host",
    },
    "nvidia-hangs": {"gpus": [RTX_3090], "expect": BROKEN, "note": "does not answer"},
    "nvidia-nouveau": {"gpus": [{"vendor": "nvidia", "driver": "nouveau"}], "expect": BROKEN},
    "nvidia-vfio-pci": {"gpus": [{"vendor": "nvidia", "driver": "vfio-pci"}], "expect": BROKEN},
}


def unpacked(name: str, where: Path) -> Tree:
    """A root with what the profile lays over a twin's."""
    tree = Tree(where)
    tree.file("etc/os-release", 'ID=debian\nVERSION_ID="13"\n')
    with tarfile.open(fileobj=io.BytesIO(overlay(name))) as archive:
        for member in archive:
            if member.name.startswith(f"{ROOT}/"):
                member.name = member.name.removeprefix(f"{ROOT}/")
                archive.extract(member, tree.root, filter="fully_trusted")
    return tree


def facts(name: str, where: Path) -> Facts:
    tree = unpacked(name, where)
    if name == "nvidia-hangs":
        tree.impatient()
    return tree.facts(readings=True)


def test_every_profile_has_its_case() -> None:
    assert list(CASES) == list(PROFILES)


@pytest.mark.parametrize("name", CASES)
def test_the_probe_sees_what_the_profile_says(name: str, tmp_path: Path) -> None:
    check_devices(facts(name, tmp_path), CASES[name])
    assert facts(name, tmp_path / "again").identity.nvidia_usable == (
        PROFILES[name].works and PROFILES[name].cards[0].driver == "nvidia"
    )


def test_the_stand_in_speaks_as_nvidia_smi(tmp_path: Path) -> None:
    tree = unpacked("nvidia-2x-rtx-3090", tmp_path)

    def smi(*words: str) -> tuple[int, str]:
        command = [str(tree.root / "usr/bin/nvidia-smi"), *words]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout

    one = "GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-0123abcd-0000-1111-2222-333344445551)\n"
    assert smi() == smi("-L") == (0, one + one.replace("GPU 0", "GPU 1").replace("551", "552"))
    asked = "--query-gpu=name,memory.total,memory.free"
    assert smi(asked, "--format=csv,noheader,nounits") == (0, "NVIDIA GeForce RTX 3090, 24576, 24064\n" * 2)
    assert smi("--query-gpu=colour") == (2, 'Field "colour" is not a valid field to query.\n\n')
    assert smi("--query-compute-apps=process_name,used_memory") == (0, "")


def test_an_overlay_is_the_same_every_time_and_its_programs_come_first() -> None:
    data = overlay("nvidia-rtx-4090")
    assert overlay("nvidia-rtx-4090") == data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        links = {member.name: member.linkname for member in archive if member.name.startswith("usr/local/bin/")}
        assert archive.extractfile("etc/provision/probe-root").read() == f"/{ROOT}\n".encode()  # type: ignore[union-attr]
    assert links == {f"usr/local/bin/{name}": f"/{ROOT}/usr/bin/{name}" for name in ("nvidia-ctk", "nvidia-smi")}


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if not profile.works])
def test_a_host_without_a_working_driver_has_nothing_that_finds_devices(name: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(overlay(name))) as archive:
        assert not [member for member in archive.getnames() if "nvidia-ctk" in member]


def test_the_docs_list_every_profile() -> None:
    page = (Path(__file__).parents[3] / "docs" / "twin.md").read_text()
    rows = [f"| `{name}` | {profile.what} |" for name, profile in PROFILES.items()]
    assert "\n".join(rows) in page
