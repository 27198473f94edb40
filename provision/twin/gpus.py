"""GPUs that twins pretend to have: what the facts' probe sees of one, healthy or in one of the usual ways broken.

The probe lays a directory over `/` (docs/facts.md); a profile is what stands in it. Nothing in the twin computes on it.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from provision.dataclass import dataclass

ROOT = "twin/gpu"
"""Below `/` of the twin: the directory that is laid over `/`."""
_FILES = Path(__file__).parent / "gpu"
_UUID = "GPU-0123abcd-0000-1111-2222-33334444555{}"


@dataclass(frozen=True)
class Card:
    """A device of the PCI bus.

    Args:
        device: vendor and device in hex, as `10de:2684`.
        driver: the kernel driver that is bound, or "".
        name: as the driver says it.
        memory: MiB, as nvidia-smi prints it; `[N/A]` where it is unified.
        capability: compute capability; "" when the driver is too old to know it.
        kind: PCI class.
    """

    device: str
    driver: str = ""
    name: str = ""
    memory: str = ""
    capability: str = ""
    kind: str = "030000"


@dataclass(frozen=True)
class Profile:
    """A host's GPUs and their driver.

    Args:
        what: for the reader.
        cards: from slot 0000:01:00.0 on.
        module: the version of the NVIDIA module that is loaded, or "".
        open: it is the open flavour.
        failure: `nvidia-smi`'s exit status (or `hangs`) and what it says; None: it answers.
        smi: `nvidia-smi` is installed.
        files: others, path -> text.
    """

    what: str
    cards: Sequence[Card]
    module: str = ""
    open: bool = False
    failure: tuple[str, str] | None = None
    smi: bool = True
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """An NVIDIA driver that answers."""
        return bool(self.module) and self.smi and self.failure is None


_RTX_3090 = Card("10de:2204", "nvidia", "NVIDIA GeForce RTX 3090", "24576", "8.6")
_MI300X = Card("1002:74a1", "amdgpu", "AMD Instinct MI300X OAM", kind="120000")

PROFILES: Mapping[str, Profile] = {
    "nvidia-rtx-4090": Profile(
        "a GeForce RTX 4090, driver 580, open modules",
        (Card("10de:2684", "nvidia", "NVIDIA GeForce RTX 4090", "24564", "8.9"),),
        "580.95.05",
        open=True,
    ),
    "nvidia-2x-rtx-3090": Profile("two GeForce RTX 3090, driver 580", (_RTX_3090, _RTX_3090), "580.95.05", open=True),
    "nvidia-v100": Profile(
        "a Tesla V100, driver 580, proprietary modules",
        (Card("10de:1db6", "nvidia", "Tesla V100-PCIE-32GB", "32768", "7.0", "030200"),),
        "580.95.05",
    ),
    "nvidia-gb10": Profile(
        "a GB10, whose memory is the machine's, driver 580",
        (Card("10de:2e12", "nvidia", "NVIDIA GB10", "[N/A]", "12.1", "030200"),),
        "580.95.05",
        open=True,
    ),
    "amd-mi300x": Profile(
        "an Instinct MI300X",
        (_MI300X,),
        smi=False,
        files={
            "dev/kfd": "",
            "sys/bus/pci/devices/0000:01:00.0/mem_info_vram_total": "206141652992\n",
            "sys/bus/pci/devices/0000:01:00.0/product_name": "AMD Instinct MI300X OAM\n",
            "sys/class/kfd/kfd/topology/nodes/1/properties": "gfx_target_version 90402\nlocation_id 256\ndomain 0\n",
        },
    ),
    "nvidia-no-driver": Profile("no driver is installed", (Card("10de:2204"),), smi=False),
    "nvidia-not-loaded": Profile(
        "the driver is installed and not loaded",
        (Card("10de:2204"),),
        failure=(
            "9",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
            "Make sure that the latest NVIDIA driver is installed and running.\n",
        ),
    ),
    "nvidia-old-driver": Profile(
        "a GeForce GTX 1080 with driver 470, which does not know `compute_cap`",
        (Card("10de:1b80", "nvidia", "NVIDIA GeForce GTX 1080", "8119"),),
        "470.256.02",
    ),
    "nvidia-mismatch": Profile(
        "the library was upgraded, the old module is still loaded",
        (_RTX_3090,),
        "570.133.20",
        failure=("18", "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.158\n"),
    ),
    "nvidia-hangs": Profile("`nvidia-smi` does not answer", (_RTX_3090,), "570.133.20", failure=("hangs", "")),
    "nvidia-nouveau": Profile("nouveau is bound", (Card("10de:1b80", "nouveau"),), smi=False),
    "nvidia-vfio-pci": Profile("given to a virtual machine", (Card("10de:2684", "vfio-pci"),), smi=False),
}


@dataclass(frozen=True)
class Entry:
    """A file with its mode, or a link."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""


def overlay(name: str) -> bytes:
    """What makes a twin pretend, as a tar for `/`; the same bytes every time."""
    entries = {f"{ROOT}/{path}": entry for path, entry in tree(PROFILES[name]).items()}
    entries["etc/provision/probe-root"] = Entry(f"/{ROOT}\n".encode())
    # Where a login's PATH has them: before those of packages.
    for path in [path for path in entries if path.startswith(f"{ROOT}/usr/bin/")]:
        entries[f"usr/local/bin/{path.rpartition('/')[2]}"] = Entry(link=f"/{path}")
    return packed(entries)


def packed(entries: Mapping[str, Entry]) -> bytes:
    """A tar of these."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, entry in sorted(entries.items()):
            member = tarfile.TarInfo(path)
            member.mode, member.size = entry.mode, len(entry.data)
            if entry.link:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
            archive.addfile(member, io.BytesIO(entry.data))
    return made.getvalue()


def tree(profile: Profile) -> dict[str, Entry]:
    """The directory that is laid over `/`: path -> what stands there."""
    found = {path: Entry(text.encode()) for path, text in profile.files.items()}
    for number, card in enumerate(profile.cards, 1):
        found |= dict(_device(card, _slot(number)))
    if profile.module:
        found |= dict(_module(profile))
    if profile.smi:
        found["usr/bin/nvidia-smi"] = Entry((_FILES / "nvidia-smi").read_bytes(), 0o755)
        found["nvidia-smi/cards"] = Entry("".join(_line(profile, number) for number in _numbers(profile)).encode())
    if profile.failure:
        found["nvidia-smi/failure"] = Entry("\n".join(profile.failure).encode())
    if profile.works:
        found["usr/bin/nvidia-ctk"] = Entry((_FILES / "nvidia-ctk").read_bytes(), 0o755)
    return found


def _numbers(profile: Profile) -> range:
    return range(1, len(profile.cards) + 1)


def _slot(number: int) -> str:
    return f"0000:{number:02x}:00.0"


def _device(card: Card, slot: str) -> Iterator[tuple[str, Entry]]:
    folder = f"sys/bus/pci/devices/{slot}"
    vendor, _, device = card.device.partition(":")
    for name, value in (("class", card.kind), ("vendor", vendor), ("device", device)):
        yield f"{folder}/{name}", Entry(f"0x{value}\n".encode())
    if card.driver:
        yield f"{folder}/driver", Entry(link=f"../../drivers/{card.driver}")


def _module(profile: Profile) -> Iterator[tuple[str, Entry]]:
    flavour = "Open Kernel Module for x86_64" if profile.open else "x86_64 Kernel Module"
    text = f"NVRM version: NVIDIA UNIX {flavour}  {profile.module}  Release Build\n"
    yield "proc/driver/nvidia/version", Entry(text.encode())
    yield "sys/module/nvidia/version", Entry(f"{profile.module}\n".encode())
    for number, card in enumerate(profile.cards, 1):
        about = f"Model: \t\t {card.name}\nGPU UUID: \t {_UUID.format(number)}\nBus Location: \t {_slot(number)}\n"
        yield f"proc/driver/nvidia/gpus/{_slot(number)}/information", Entry(about.encode())


def _line(profile: Profile, number: int) -> str:
    """A GPU as the stand-in reads it."""
    card = profile.cards[number - 1]
    memory = (card.memory, "512" if card.memory.isdigit() else card.memory)
    values = (f"0000{_slot(number).upper()}", profile.module, _UUID.format(number), *memory, "3", "41", card.name)
    return "|".join((*values, card.capability)) + "\n"
