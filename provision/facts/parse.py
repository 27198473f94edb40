"""From the probe's output to `Facts`. Missing parts become notes, not errors: half a host is better than none."""

import re

from provision.facts import gpus, network, osrelease
from provision.facts.model import OS, Facts, FileSystem, Identity, Load, Ollama, Readings
from provision.facts.records import Records, number

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "armv6l": "armhf", "i686": "i386"}
_HALVES = {"amd64": "i386", "arm64": "armhf"}
_DF = re.compile(r"(.*?)\s+(\S+)\s+(\d+)\s+(\d+)\s+(-?\d+)\s+(?:\d+%|-)\s+(/.*)", re.ASCII)
_MANAGERS = {
    "debian": ("apt-get",),
    "redhat": ("dnf5", "dnf", "yum"),
    "suse": ("zypper",),
    "arch": ("pacman",),
}
_MAKERS = (
    ("qemu", "kvm"),
    ("kvm", "kvm"),
    ("amazon ec2", "amazon"),
    ("google", "google"),
    ("vmware", "vmware"),
    ("innotek", "oracle"),
    ("virtualbox", "oracle"),
    ("xen", "xen"),
    ("parallels", "parallels"),
    ("bochs", "bochs"),
)
_COMPATIBLE_TABLES = re.compile(
    r"table (?:ip6? (?:nat|filter|mangle|raw|security|docker\S*)|inet (?:firewalld|provision\w*))"
)


def parse(out: bytes) -> Facts:
    """Read what the probe printed. Never raises: `out` is what a host chose to say."""
    records = Records(out)
    found, nvidia = gpus.gpus(records)
    os = osrelease.system(osrelease.read(records.all("os")), records.one("debian_version"))
    marks = _marks(records)
    container = _container(records)
    identity = Identity(
        hostname=_word(records.one("hostname"), 253),
        os=os,
        arch=_arch(records),
        kernel=_word(records.one("kernel"), 128),
        init="openrc" if "openrc" in records.all("mark") else _word(records.one("init"), 32),
        virtualization=container or _virtualization(records, marks),
        package_manager=_manager(records, os),
        cpu=_cpu(records),
        cpus=_count(records.one("cpus")),
        memory=records.number("memory") * 1024,
        gpus=found,
        nvidia_driver=nvidia.module,
        nvidia_smi=nvidia.smi,
        amd_kfd="kfd" in records.all("mark"),
        time_daemon=next((_word(name, 32) for name in records.all("time_daemon")), ""),
        marks=marks | ({"container"} if container else frozenset()),
        groups=_groups(records),
        machine_id=_word(records.one("machine_id"), 32),
        address=network.address(records),
        nvidia_open=nvidia.open,
        jetson=gpus.jetson_release(records),
        model=_model(records),
        docker_package=_engine(records),
        nvidia_tools=bool(records.one("smi_asked")),
        nvidia_complaint=nvidia.complaint,
        gpu_groups=gpus.owners(records),
        nvidia_own=_search(r"^(\d{3} (?:open|proprietary))$", records.one("nvidia_own")),
    )
    notes = _notes(records, identity) + ((nvidia.complaint,) if nvidia.complaint else ())
    return Facts(identity, _readings(records, os, nvidia.loads), notes, _complete(records))


def _readings(records: Records, os: OS, loads: tuple[Load, ...]) -> Readings:
    marks = records.all("mark")
    return Readings(
        memory_available=records.number("memory_available") * 1024,
        load=_float(records.one("load").partition(" ")[0]),
        uptime=int(_float(records.one("uptime").partition(" ")[0])),
        clock=records.number("clock"),
        file_systems=_file_systems(records),
        listeners=network.listeners(records),
        docker=_search(r"Docker version (\d[\w.+~-]*)", records.one("docker")),
        docker_containers=records.number("docker_containers"),
        ollamas=_ollamas(records),
        selinux={"1": "enforcing", "0": "permissive"}.get(records.one("selinux"), ""),
        firewall=_firewall(records),
        secure_boot={"1": "on", "0": "off"}.get(records.one("secure_boot"), ""),
        reboot_required="reboot" in marks or _modules_gone(records, os),
        docker_running=bool(records.number("docker_pid")),
        gpus=loads,
    )


def _notes(records: Records, identity: Identity) -> tuple[str, ...]:
    notes = []
    if not _complete(records):
        notes.append("the probe did not come to its end: what it says is not complete")
    for missing, what in (
        (not records.all("os"), "no os-release: the system is not known"),
        (not identity.arch, "the architecture is not known"),
        (not identity.memory, "the memory is not known"),
        (not identity.address, "no address but loopback"),
        (identity.jetson == "" and "jetson" in identity.marks, "a Jetson whose release is not known"),
    ):
        if missing:
            notes.append(what)
    if records.all("path") and not _file_systems(records):
        notes.append("df did not answer for every path: free space is not known")
    return tuple(notes)


def _complete(records: Records) -> bool:
    ends = records.all("end")
    return "identity" in ends and ("readings" in ends or "readings" not in records.all("begin"))


def _marks(records: Records) -> frozenset[str]:
    said = set(records.all("mark"))
    marks = said & {"ostree", "nixos", "alpine", "musl", "raspberrypi", "mig", "selinux"}
    kernel = records.one("kernel").lower()
    tree = records.all("tree_compatible")
    # WSL 1 has no Linux kernel of its own; its release says `Microsoft` with a capital and no `WSL2`.
    if "microsoft" in kernel or "dxg" in said:
        marks.add("wsl")
        if "wsl2" not in kernel and "dxg" not in said:
            marks.add("wsl1")
    for name, there in (
        ("jetson", records.one("tegra") or any(item.startswith("nvidia,tegra") for item in tree)),
        ("dgx", any(line.startswith("DGX_") for line in records.all("dgx"))),
        ("raspberrypi", any(item.startswith("raspberrypi,") for item in tree)),
        ("nvswitch", gpus.nvswitch(records)),
    ):
        if there:
            marks.add(name)
    return frozenset(marks)


def _arch(records: Records) -> str:
    """What dpkg says is the userland; elsewhere a 32-bit `long` on a 64-bit kernel gives it away."""
    if said := _word(records.one("dpkg_arch"), 32):
        return said
    machine = _word(records.one("machine"), 32)
    arch = _ARCHES.get(machine, machine)
    return _HALVES.get(arch, arch) if records.one("long_bit") == "32" else arch


def _container(records: Records) -> str:
    said = records.all("mark")
    named = _word(records.one("container"), 32)
    if named and named != "wsl":
        return named
    return next((name for name in ("docker", "podman") if name in said), "")


def _virtualization(records: Records, marks: frozenset[str]) -> str:
    if "wsl" in marks:
        return "wsl"
    maker, product = records.one("vendor").lower(), records.one("product").lower()
    if "microsoft" in maker and "virtual" in product:
        return "microsoft"
    # Amazon and Google put their names on machines without a hypervisor as well.
    named = next((kind for word, kind in _MAKERS if word in f"{maker} {product}"), "")
    if "hypervisor" in records.all("mark"):
        return named or _word(records.one("hypervisor"), 32) or "vm"
    return named if named in ("kvm", "vmware", "oracle") else "none"


def _manager(records: Records, os: OS) -> str:
    there = records.all("manager")
    own = next((name for name in _MANAGERS.get(os.family, ()) if name in there), "")
    name = own or _word(next(iter(there), ""), 16)
    return "apt" if name == "apt-get" else name


def _cpu(records: Records) -> str:
    model = next((value for _, value in records.pairs("cpu", ":")), "")
    return " ".join(model.split())[:120]


def _model(records: Records) -> str:
    board = records.one("tree_model") or f"{records.one('vendor')} {records.one('product')}"
    return " ".join(board.split())[:120]


def _engine(records: Records) -> str:
    return next((_word(name, 32) for name in records.all("docker_package")), "")


def _groups(records: Records) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in records.all("group"):
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdecimal() and fields[2].isascii() and len(fields[2]) <= 10:
            found.setdefault(fields[0], int(fields[2]))
    return found


def _count(ranges: str) -> int:
    """How many CPUs `0-7,16` is; 0 when it is not understood."""
    total = 0
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and first.isascii()):
            return 0
        total += max(0, number(last or first) - number(first) + 1)
    return total if total <= 8192 else 0


def _file_systems(records: Records) -> tuple[FileSystem, ...]:
    """A line of df for each path in the order of asking. With a line missing the order says nothing: none is used."""
    paths = records.all("path")
    rows = [match for line in records.all("df") if (match := _DF.fullmatch(line))]
    if len(rows) != len(paths):
        return ()
    return tuple(
        FileSystem(path, row[6], row[2], number(row[3]) * 1024, number(row[5]) * 1024)
        for path, row in zip(paths, rows, strict=True)
    )


def _ollamas(records: Records) -> tuple[Ollama, ...]:
    return tuple(
        Ollama(path, version, real)
        for path, _, rest in (value.partition(" ") for value in records.all("ollama"))
        for real, _, said in [rest.partition(" ")]
        for version in [
            _search(r"/opt/ollama/(\d[\w.+~-]*)/bin/ollama$", real)
            or _search(r"client version is (\d[\w.+~-]*)", said)
            or _search(r"ollama version is (\d[\w.+~-]*)", said)
        ]
    )


def _firewall(records: Records) -> str:
    said = records.all("firewall")
    for name in ("ufw", "firewalld"):
        if name in said:
            return name
    tables = [line for line in records.all("nft") if line.startswith("table ")]
    return "nftables" if any(not _COMPATIBLE_TABLES.fullmatch(line) for line in tables) else ""


def _modules_gone(records: Records, os: OS) -> bool:
    """Arch removes the running kernel's modules when it upgrades the kernel: nothing can be loaded until a reboot."""
    modules = records.all("modules")
    return os.family == "arch" and bool(modules) and records.one("kernel") not in modules


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.ASCII)
    return match[1] if match else ""


def _float(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,15}(\.\d{1,6})?", text, re.ASCII) else 0.0


def _word(text: str, limit: int) -> str:
    """One word without blanks or shell's special characters, else ""."""
    return text if len(text) <= limit and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+:-]*", text, re.ASCII) else ""
