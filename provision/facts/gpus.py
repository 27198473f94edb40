"""GPUs: the PCI bus first, then what the vendors' drivers add."""

import csv
import re
from dataclasses import replace

from provision.dataclass import dataclass
from provision.facts.model import GPU, Load
from provision.facts.records import Records, known, number

_VENDORS = {"10de": "nvidia", "1002": "amd", "8086": "intel"}
_PCI = re.compile(
    r"(?P<slot>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) 0x(?P<class>[0-9a-f]{6}) 0x(?P<vendor>[0-9a-f]{4})"
    r" 0x(?P<device>[0-9a-f]{4}) (?P<driver>[A-Za-z0-9_-]{0,40}) (?P<memory>\d{1,18})",
    re.ASCII,
)
_MODULE = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", re.ASCII)
_VERSION = re.compile(r"\d+(?:\.\d+)+", re.ASCII)
_NODE = re.compile(r"([0-7]{3,4}) (\d{1,10})", re.ASCII)
_NO_GROUP = 2**32 - 1
_RELEASE = re.compile(r"# (R\d+) \(release\)")


@dataclass(frozen=True)
class Nvidia:
    """What the NVIDIA driver says of itself. Versions are "" when it does not."""

    module: str
    open: bool
    smi: str
    loads: tuple[Load, ...]
    complaint: str


def gpus(records: Records) -> tuple[tuple[GPU, ...], Nvidia]:
    """Every GPU by slot, and the state of the NVIDIA driver."""
    found = {gpu.slot: gpu for gpu in _pci(records)}
    _amd(records, found)
    _proc(records, found)
    nvidia = _smi(records, found)
    if records.one("tegra") and not any(gpu.vendor == "nvidia" for gpu in found.values()):
        name = records.one("tree_model")
        found["soc"] = GPU("soc", "nvidia", "", "nvgpu", name)
    return tuple(found[slot] for slot in sorted(found)), nvidia


def nvswitch(records: Records) -> bool:
    """An NVIDIA bridge of the class 0680: GPUs behind it need the fabric manager."""
    return any(" 0x0680" in value and " 0x10de " in value for value in records.all("pci"))


def jetson_release(records: Records) -> str:
    """The L4T release of a Jetson (`R36`), or ""."""
    match = _RELEASE.match(records.one("tegra"))
    return match[1] if match else ""


def owners(records: Records) -> tuple[int, ...]:
    """Numbers of the groups by which alone the device files of AMD's and Intel's GPUs can be opened.

    Not root's, which would give more than the GPU; none for a file that everybody may open.
    """
    found = set()
    for mode, group in (match.groups() for value in records.all("node") if (match := _NODE.fullmatch(value))):
        bits, number_of = int(mode, 8), int(group)
        if bits & 0o060 == 0o060 and bits & 0o006 != 0o006 and 0 < number_of < _NO_GROUP:
            found.add(number_of)
    return tuple(sorted(found))


def _pci(records: Records) -> list[GPU]:
    names = dict(records.pairs("pci_name", " "))
    found = []
    for value in records.all("pci"):
        match = _PCI.fullmatch(value.lower())
        if not match or match["class"].startswith("0680"):
            continue
        vendor = _VENDORS.get(match["vendor"], match["vendor"])
        slot = match["slot"]
        memory = number(match["memory"])
        found.append(GPU(slot, vendor, match["device"], match["driver"], names.get(slot, ""), memory))
    return found


def _amd(records: Records, found: dict[str, GPU]) -> None:
    """`gfx_target_version` is decimal MMmmss; the three parts are written in hex: 90010 is gfx90a.

    `location_id` is bus << 8 | device << 3 | function (Linux: drivers/gpu/drm/amd/amdkfd/kfd_topology.c).
    """
    nodes: dict[str, dict[str, int]] = {}
    for node, rest in records.pairs("kfd", "/properties:"):
        key, _, value = rest.partition(" ")
        nodes.setdefault(node, {})[key] = number(value)
    for properties in nodes.values():
        target, where = properties.get("gfx_target_version", 0), properties.get("location_id", 0)
        if not target:
            continue
        slot = f"{properties.get('domain', 0):04x}:{where >> 8 & 255:02x}:{where >> 3 & 31:02x}.{where & 7}"
        if slot in found:
            name = f"gfx{target // 10000}{target // 100 % 100:x}{target % 100:x}"
            found[slot] = replace(found[slot], target=name)


def _proc(records: Records, found: dict[str, GPU]) -> None:
    """/proc/driver/nvidia/gpus/*/information: names and uuids even when nvidia-smi does not answer."""
    about: dict[str, str] = {}
    for key, value in records.pairs("nvidia_gpu", ":"):
        about[key] = value
        if key == "Bus Location":
            slot = _slot(value)
            if slot in found:
                uuid = about.get("GPU UUID", "")
                found[slot] = replace(found[slot], name=about.get("Model", ""), uuid=uuid if _known_uuid(uuid) else "")
            about = {}


def _smi(records: Records, found: dict[str, GPU]) -> Nvidia:
    module_line = records.one("nvidia_module")
    match = _MODULE.search(module_line)
    module = match[1] if match else _version(records.one("nvidia_version"))
    answer = records.all("smi")
    status = next((line.removeprefix("rc=") for line in answer if line.startswith("rc=")), "")
    rows = [line for line in answer if not line.startswith("rc=")]
    version, loads = "", []
    for row in _csv(rows) if status == "0" else ():
        if len(row) < 8 or not re.search(r"[0-9a-f]:[0-9a-f]{2}:[0-9a-f]{2}\.", row[0].lower()):
            continue
        slot, total = _slot(row[0]), known(row[3])
        version = version or _version(row[1])
        loads.append(Load(slot, _mib(row[4]), known(row[5]), known(row[6])))
        # WSL has no PCI device for its GPU: nvidia-smi is the only one to know it.
        gpu = found.get(slot) or GPU(slot, "nvidia", "", "")
        found[slot] = replace(
            gpu,
            name=row[7] or gpu.name,
            uuid=row[2] if _known_uuid(row[2]) else gpu.uuid,
            memory=(total or 0) << 20,
            target=row[8] if len(row) > 8 and _VERSION.fullmatch(row[8]) else "",
        )
    complaint = _complaint(rows, status, version) if records.one("smi_asked") else ""
    return Nvidia(module, "Open Kernel Module" in module_line, version, tuple(loads), complaint)


def _complaint(rows: list[str], status: str, version: str) -> str:
    """Why `nvidia-smi` was of no use, for the reader. Exit codes are those of nvidia-smi(1) and timeout(1)."""
    if version:
        return ""
    said = rows[-1][:200] if rows else ""
    if any("version mismatch" in row for row in rows):
        return "nvidia-smi: the driver's library is newer than the loaded kernel module: reboot the host"
    if status in ("", "124", "137"):
        return "nvidia-smi does not answer within 10 s: the driver hangs; see dmesg, reboot the host"
    if status == "0":
        return f"nvidia-smi: its answer is not understood: {said}" if said else "nvidia-smi found no GPU"
    return f"nvidia-smi: {said}" if said else f"nvidia-smi: exit status {status}"


def _csv(rows: list[str]) -> list[list[str]]:
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(rows, skipinitialspace=True)]
    except csv.Error:
        return []


def _slot(text: str) -> str:
    """nvidia-smi writes the PCI domain with eight digits, sysfs with four unless it needs more."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain.lstrip('0').zfill(4)}:{rest}"


def _mib(text: str) -> int | None:
    value = known(text)
    return None if value is None else value << 20


def _version(text: str) -> str:
    return text if _VERSION.fullmatch(text) else ""


def _known_uuid(text: str) -> bool:
    return re.fullmatch(r"GPU-[0-9a-fA-F-]{36}", text) is not None


Architecture = str
_ARCHITECTURES: tuple[tuple[int, int, Architecture], ...] = (
    (0x06C0, 0x0E3B, "fermi"),
    (0x0FA0, 0x130B, "kepler"),
    (0x1340, 0x1436, "maxwell"),
    (0x15C2, 0x15FF, "pascal"),
    (0x1613, 0x1676, "maxwell"),
    (0x1725, 0x172F, "pascal"),
    (0x174D, 0x17FD, "maxwell"),
    (0x1B00, 0x1D56, "pascal"),
    (0x1D81, 0x1DF6, "volta"),
    (0x1E02, 0x1FF9, "turing"),
    (0x2080, 0x20FF, "ampere"),
    (0x2182, 0x21D1, "turing"),
    (0x2200, 0x223F, "ampere"),
    (0x2302, 0x23F0, "hopper"),
    (0x2414, 0x25FB, "ampere"),
    (0x2681, 0x28F8, "ada"),
    (0x2900, 0x29F1, "blackwell"),
    (0x2B00, 0x2B00, "blackwell"),
    (0x2B85, 0x2C79, "blackwell"),
    (0x2D04, 0x2E2A, "blackwell"),
    (0x2F04, 0x2F58, "blackwell"),
    (0x3180, 0x323E, "blackwell"),
    (0x3340, 0x3340, "blackwell"),
    (0x3400, 0x3400, "blackwell"),
)


def architecture(gpu: GPU) -> Architecture:
    """An NVIDIA GPU's architecture from its PCI id alone (ranges of pci.ids), "" when unknown: assume a current one."""
    if gpu.vendor != "nvidia" or not re.fullmatch(r"[0-9a-f]{4}", gpu.device):
        return ""
    device = int(gpu.device, 16)
    return next((name for low, high, name in _ARCHITECTURES if low <= device <= high), "")
