"""Hosts with GPUs that are not an NVIDIA card of a plain server, and a release of Ollama with archives for them."""

import io
import tarfile
from pathlib import Path

from provision.twin.gpus import Card, Entry, Profile
from provision.values import sha256
from tests.lab import gguf, ollama

VERSION = "0.9.3"


def _amd(card: Card, target: int, name: str, memory: int) -> Profile:
    """A card that AMD's driver tells of; its device files are made on the host itself."""
    folder = "sys/bus/pci/devices/0000:01:00.0"
    files = {
        f"{folder}/mem_info_vram_total": f"{memory}\n",
        f"{folder}/product_name": f"{name}\n",
        "sys/class/kfd/kfd/topology/nodes/1/properties": f"gfx_target_version {target}\nlocation_id 256\ndomain 0\n",
    }
    return Profile(name, (card,), smi=False, files=files)


MI300X = _amd(Card("1002:74a1", "amdgpu", kind="120000"), 90402, "AMD Instinct MI300X OAM", 206141652992)
RX_7900 = _amd(Card("1002:744c", "amdgpu"), 110000, "AMD Radeon RX 7900 XTX", 25753026560)
ARC = Profile("an Arc A770", (Card("8086:56a0", "xe", kind="038000"),), smi=False)
JETSON = Profile(
    "a Jetson AGX Orin with JetPack 6",
    (),
    smi=False,
    files={
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin\0",
        "proc/device-tree/compatible": "nvidia,p3701-0000\0nvidia,tegra234\0",
        "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    },
)
DGX = Profile(
    "a DGX Spark with DGX OS",
    (Card("10de:2e12", "nvidia", "NVIDIA GB10", "[N/A]", "12.1", "030200"),),
    "580.95.05",
    open=True,
    files={"etc/dgx-release": 'DGX_NAME="DGX Spark"\n', "proc/sys/kernel/osrelease": "6.14.0-1013-nvidia\n"},
)
WSL = Profile(
    "WSL 2 with a GeForce RTX 4070",
    (),
    smi=False,
    files={"proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2\n", "dev/dxg": ""},
)
# Beside the profile: only the probe asks it, for the packages stay those of the lab's host.
ARM = Entry(
    b'#!/bin/sh\n[ "$1" != --print-architecture ] || { echo arm64; exit; }\nexec /usr/bin/dpkg "$@"\n', mode=0o755
)
_ROW = "00000000:01:00.0, 576.02, GPU-0123abcd-0000-1111-2222-333344445555, 12282, 900, 1, 50, NVIDIA GeForce RTX 4070"
WSL_SMI = Entry(f"#!/bin/sh\necho '{_ROW}, 8.9'\n".encode(), mode=0o755)

_FURTHER = {
    "ollama-linux-amd64-rocm.tgz": "rocm_v7_2",
    "ollama-linux-arm64-jetpack6.tgz": "cuda_jetpack6",
}
"""Archive -> the directory that it adds to `lib/ollama`; what is in it computes nothing."""


def artifacts(folder: Path) -> Path:
    """A directory of artefacts: the lab's release, the same named for arm64, stand-ins for what comes beside it."""
    place = folder / f"v{VERSION}"
    place.mkdir(parents=True)
    base = ollama.releases() / f"v{VERSION}" / "ollama-linux-amd64.tgz"
    for name in ("ollama-linux-amd64.tgz", "ollama-linux-arm64.tgz"):
        (place / name).symlink_to(base)
    for name, directory in _FURTHER.items():
        (place / name).write_bytes(_archive(f"lib/ollama/{directory}/README"))
    sums = (f"{sha256(file.read_bytes())}  ./{file.name}\n" for file in sorted(place.iterdir()))
    (place / "sha256sum.txt").write_text("".join(sums))
    (folder / "tiny.gguf").symlink_to(gguf.tiny())
    return folder


def _archive(path: str) -> bytes:
    made, text = io.BytesIO(), b"a stand-in\n"
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        member = tarfile.TarInfo(path)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return made.getvalue()
