"""Which NVIDIA driver a host needs, from its identity alone: the flavour, the branch, the packages by distribution.

One branch serves all: 580 is the last one for Maxwell, Pascal and Volta, and new enough for Blackwell. Kernel modules
are the open ones from Turing on, where Blackwell has no others, and the proprietary ones before.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from provision.dataclass import dataclass
from provision.facts.gpus import Architecture, architecture
from provision.facts.model import GPU, Identity

BRANCH = 580
MARKER = "/etc/provision/nvidia-driver"
"""Stands on hosts whose driver we installed, and says which: what is there is not taken for somebody else's."""

_TOO_OLD = ("fermi", "kepler")
_CLOSED = ("maxwell", "pascal", "volta")
# Compute capability below 7.0: Ollama asks more of them (docs/gpu.mdx).
_BELOW_7 = ("maxwell", "pascal")
_GIVEN_AWAY = "vfio-pci"


@dataclass(frozen=True)
class Need:
    """What a host's GPUs need: `open` modules or not, and the oldest branch that they and Ollama work with."""

    open: bool
    minimum: int

    @property
    def flavour(self) -> str:
        """For a reader."""
        return "open" if self.open else "proprietary"


@dataclass(frozen=True)
class Packages:
    """A driver of the branch 580 without a desktop.

    Args:
        names: of the packages: modules, libraries and tools.
        headers: packages with the headers of the kernel that runs, where the modules are built on the host.
        folder: of NVIDIA's repository (`debian13/x86_64`); "" where the distribution has the driver itself.
        signed: the modules load under Secure Boot as they come.
        services: units that the packages bring and that must run.
        kept: prefixes of packages that unattended upgrades must leave alone.
        stream: of a module that must be enabled before (`nvidia-driver:open-dkms`), or "".
    """

    names: tuple[str, ...]
    headers: tuple[str, ...] = ()
    folder: str = ""
    signed: bool = False
    services: tuple[str, ...] = ("nvidia-persistenced",)
    kept: tuple[str, ...] = ()
    stream: str = ""


def cards(identity: Identity) -> tuple[GPU, ...]:
    """The NVIDIA GPUs that are the host's own: one that is bound to vfio-pci belongs to a virtual machine."""
    return tuple(gpu for gpu in identity.gpus if gpu.vendor == "nvidia" and gpu.driver != _GIVEN_AWAY)


def hands_off(identity: Identity) -> str:
    """Why no driver is looked after on this host, for a reader; "" where one is.

    WSL 2 has the driver of Windows, a Jetson's and a DGX's are part of their images, a container's is its host's.
    """
    own = cards(identity)
    if not own:
        return "all GPUs are given to virtual machines" if identity.has_gpu("nvidia") else "no NVIDIA GPU"
    if all(architecture(gpu) in _TOO_OLD for gpu in own):
        return "no driver that Ollama works with serves GPUs before Maxwell"
    platforms = {"wsl": "WSL", "jetson": "Jetson", "dgx": "DGX OS", "container": "a container"}
    return next(
        (f"{name}: its driver comes from elsewhere" for mark, name in platforms.items() if mark in _at(identity)), ""
    )


def _at(identity: Identity) -> frozenset[str]:
    return identity.marks | ({"container"} if identity.virtualization == "lxc" else frozenset())


def needed(identity: Identity, ollama: tuple[int, ...] = ()) -> Need:
    """What this host's GPUs need, an unknown GPU being taken for a current one.

    Args:
        identity: of a host that `hands_off` says nothing about.
        ollama: the version that is to run; empty: a current one. Before 0.30.11 it was content with 531.

    Raises:
        ValueError: no driver serves all GPUs.
    """
    kinds = {gpu: architecture(gpu) for gpu in cards(identity) if architecture(gpu) not in _TOO_OLD}
    closed = [gpu for gpu, kind in kinds.items() if kind in _CLOSED]
    blackwell = [gpu for gpu, kind in kinds.items() if kind == "blackwell"]
    if closed and blackwell:
        raise ValueError(
            f"no driver serves both {_named(closed[0])}, which needs the proprietary modules, and "
            f"{_named(blackwell[0])}, which needs the open ones: take one out, or say nvidia.driver: keep"
        )
    return Need(not closed, _minimum(kinds.values(), ollama))


def _minimum(kinds: Iterable[Architecture], ollama: tuple[int, ...]) -> int:
    found = set(kinds)
    if "blackwell" in found:
        return 570
    if ollama and ollama < (0, 30, 11):
        return 531
    return 570 if found & set(_BELOW_7) else 550


def _named(gpu: GPU) -> str:
    return f"{gpu.name or architecture(gpu).capitalize()} at {gpu.slot}"


def branch(version: str) -> int:
    """580 of `580.95.05`; 0 when it says none."""
    head = version.partition(".")[0]
    return int(head) if head.isdecimal() and len(head) < 6 else 0


def packages(identity: Identity, need: Need) -> Packages:
    """The driver's packages for this distribution.

    Raises:
        ValueError: it has none that could be installed without a person's choice.
    """
    os = identity.os
    if os.id == "ubuntu":
        return _ubuntu(identity, need)
    if os.id == "debian":
        return _debian(identity, need)
    maker = {"redhat": _redhat, "suse": _suse, "arch": _arch}.get(os.family)
    if maker is None:
        raise ValueError(f"no driver packages are known for {os.name}: install one, it is kept")
    return maker(identity, need)


_UBUNTU_KERNELS = {"22.04": (5, 15), "24.04": (6, 8), "26.04": (7, 0)}
"""What each release came with; a later kernel of the flavour `generic` is one of hardware enablement (HWE)."""


def _ubuntu(identity: Identity, need: Need) -> Packages:
    """Ubuntu's own, whose modules are signed by Ubuntu: nothing is built, and Secure Boot accepts them."""
    flavour = re.sub(r"^[\d.]+-\d+-", "", identity.kernel)
    shipped = _UBUNTU_KERNELS.get(identity.os.version, ())
    running = tuple(int(part) for part in re.findall(r"\d+", identity.kernel)[:2])
    if shipped and running > shipped and flavour in ("generic", "generic-64k", "lowlatency", "lowlatency-64k"):
        flavour = f"{flavour}-hwe-{identity.os.version}"
    server = f"{BRANCH}-server"
    modules = f"{server}-open" if need.open else server
    names = (
        f"linux-modules-nvidia-{modules}-{flavour}",
        f"nvidia-headless-no-dkms-{modules}",
        f"nvidia-utils-{server}",
    )
    fabric = (f"nvidia-fabricmanager-{BRANCH}", f"libnvidia-nscq-{BRANCH}")
    # The modules are for one kernel: an upgrade of either alone would leave the next boot without a GPU.
    kept = ("nvidia-", "libnvidia-", "linux-image-", "linux-modules-", "linux-headers-")
    return _with_fabric(identity, Packages(names, signed=True, kept=kept), fabric)


def _debian(identity: Identity, need: Need) -> Packages:
    """NVIDIA's repository: Debian 12 has 535, Debian 13 550, too old for Ollama or for many GPUs."""
    kernel = identity.kernel
    flavour = re.fullmatch(r"[\d.]+(?:\+\w+)*(?:-\d+)?-((?:cloud-|rt-)?(?:amd64|arm64)(?:-16k)?)", kernel)
    # The second follows the kernels to come.
    headers = (f"linux-headers-{kernel}", *([f"linux-headers-{flavour[1]}"] if flavour else []))
    modules = "nvidia-kernel-open-dkms" if need.open else "nvidia-kernel-dkms"
    folder = f"debian{identity.os.major}/{_cuda_arch(identity)}"
    names = ("nvidia-driver-cuda", modules, "nvidia-persistenced")
    found = Packages(names, headers, folder, kept=("nvidia-", "libnvidia-", "libcuda1"))
    return _with_fabric(identity, found, ("nvidia-fabricmanager", "libnvidia-nscq"))


def _redhat(identity: Identity, need: Need) -> Packages:
    os = identity.os
    if not need.open:
        raise ValueError(
            f"{_named(cards(identity)[0])} needs the branch {BRANCH}, which {os.name} cannot be held at by itself: "
            "install nvidia-driver-cuda of that branch, it is kept"
        )
    release = {"fedora": f"fedora{os.major}", "amzn": f"amzn{os.major}"}.get(os.id, f"rhel{os.major}")
    names = ("kernel-devel-matched", "kernel-headers", "nvidia-driver-cuda", "kmod-nvidia-open-dkms")
    # Their packages come in streams; those of later systems do not.
    stream = "nvidia-driver:open-dkms" if release in ("rhel9", "amzn2023") else ""
    found = Packages(names, folder=f"{release}/{_cuda_arch(identity)}", stream=stream)
    return _with_fabric(identity, found, ("nvidia-fabric-manager", "libnvidia-nscq"))


def _suse(identity: Identity, need: Need) -> Packages:
    """G06 is the generation of the branch 580; the open modules are signed by SUSE."""
    os = identity.os
    # There is no opensuse15/sbsa: Leap 15 has SLES's packages anyway.
    leap = "opensuse" if identity.arch == "amd64" else "sles"
    old = {"sles": f"sles{os.major}", "opensuse-leap": f"{leap}{os.major}"}.get(os.id, f"suse{os.major}")
    folder = f"{old if os.major == '15' else f'suse{os.major}'}/{_cuda_arch(identity)}"
    modules = "nvidia-open-driver-G06-signed-kmp-default" if need.open else "nvidia-driver-G06-kmp-default"
    found = Packages((modules, "nvidia-compute-utils-G06"), folder=folder, signed=need.open)
    return _with_fabric(identity, found, ("nvidia-fabricmanager", "libnvidia-nscq"))


def _arch(identity: Identity, need: Need) -> Packages:
    if not need.open:
        raise ValueError(
            f"{_named(cards(identity)[0])} needs a driver that Arch Linux has in its user repository only: "
            "install it, it is kept"
        )
    if identity.arch != "amd64":
        raise ValueError(f"{identity.os.name} has no NVIDIA driver: install one, it is kept")
    stock = re.fullmatch(r"[\d.]+[.-]arch\d+-\d+", identity.kernel)
    if stock:
        return Packages(("nvidia-open", "nvidia-utils"))
    kind = re.search(r"-([a-z]+)$", identity.kernel)
    return Packages((f"linux-{kind[1]}-headers" if kind else "linux-headers", "nvidia-open-dkms", "nvidia-utils"))


def _with_fabric(identity: Identity, found: Packages, fabric: tuple[str, ...]) -> Packages:
    """GPUs behind NVSwitches compute only once the fabric manager has set these up (CUDA error 802)."""
    if "nvswitch" not in identity.marks:
        return found
    services = (*found.services, "nvidia-fabricmanager")
    return replace(found, names=(*found.names, *fabric), services=services)


def _cuda_arch(identity: Identity) -> str:
    return {"amd64": "x86_64", "arm64": "sbsa"}.get(identity.arch, identity.arch)


# The keys of NVIDIA's repositories, which change with the releases: file, and fingerprint where it is known.
_OLD_DEB = ("3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC")
_OLD_RPM = ("D42D0685.pub", "610C7B14E068A878070DA4E99CD0A493D42D0685")
_KEYS = {
    "debian12": _OLD_DEB,
    "debian13": ("8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
    "rhel9": _OLD_RPM,
    "rhel10": ("CDF6BA43.pub", ""),
    "amzn2023": _OLD_RPM,
    "fedora41": _OLD_RPM,
    "fedora42": _OLD_RPM,
    "fedora43": ("1940C73E.pub", ""),
    "fedora44": ("73CD9B30.pub", "129994480EC63D2789BC98E490DFED2F73CD9B30"),
    "opensuse15": _OLD_RPM,
    "sles15": _OLD_RPM,
    "suse16": ("3A8B5622.pub", "CF65941A859D4B4E6870F188736A284B3A8B5622"),
}


def repository_key(folder: str) -> tuple[str, str]:
    """File name and fingerprint of the key of NVIDIA's repository `rhel9/x86_64`; "" for what is not known."""
    return _KEYS.get(folder.partition("/")[0], ("", ""))
