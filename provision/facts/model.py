"""What a host is (`Identity`) and how it is at the moment (`Readings`).

Declarations see `Identity` only, so that they do not change from one run to the next; `Readings` are for
preflight and display.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OS:
    """From os-release. `family` is `debian`, `redhat`, `suse`, `arch` or the id itself when unknown."""

    id: str
    version: str
    codename: str
    name: str
    family: str
    like: tuple[str, ...] = ()


@dataclass(frozen=True)
class GPU:
    """One display or accelerator device on the PCI bus. `vendor` is `nvidia`, `amd`, `intel` or the hex id.

    `device` is the PCI device id in hex, `driver` the bound kernel driver or "".
    """

    slot: str
    vendor: str
    device: str
    driver: str
    name: str = ""
    memory: int = 0
    uuid: str = ""


@dataclass(frozen=True)
class Identity:
    """What stays the same between runs: all that `declare()` may see.

    `arch` is `amd64`, `arm64` or what uname says. `groups` maps group names to numbers (`render`, `video`).
    `nvidia_driver` is the loaded kernel module's version or "".
    `marks` holds `jetson`, `dgx`, `wsl`, `container`, `ostree`, `nixos`.
    """

    hostname: str
    os: OS
    arch: str
    kernel: str
    init: str
    virtualization: str
    package_manager: str
    cpu: str
    cpus: int
    memory: int
    gpus: tuple[GPU, ...] = ()
    nvidia_driver: str = ""
    nvidia_smi: str = ""
    amd_kfd: bool = False
    marks: frozenset[str] = frozenset()
    groups: Mapping[str, int] = field(default_factory=dict)
    machine_id: str = ""
    address: str = ""

    def has_gpu(self, vendor: str) -> bool:
        """Whether a PCI device of that vendor is there, with or without a driver."""
        return any(gpu.vendor == vendor for gpu in self.gpus)

    @property
    def nvidia_usable(self) -> bool:
        """An NVIDIA GPU with a working driver: the module is loaded and `nvidia-smi` answered."""
        return self.has_gpu("nvidia") and bool(self.nvidia_driver) and bool(self.nvidia_smi)


@dataclass(frozen=True)
class FileSystem:
    """Where a path lives: sizes in bytes."""

    path: str
    mount: str
    kind: str
    size: int
    free: int


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket. `process` is empty when it is not known."""

    address: str
    port: int
    process: str = ""


@dataclass(frozen=True)
class Ollama:
    """An `ollama` binary found on the host, and the version it says (without a server)."""

    path: str
    version: str = ""


@dataclass(frozen=True)
class Readings:
    """How the host is now. Bytes, seconds, counts."""

    memory_available: int = 0
    load: float = 0.0
    uptime: int = 0
    clock: int = 0
    file_systems: tuple[FileSystem, ...] = ()
    listeners: tuple[Listener, ...] = ()
    docker: str = ""
    docker_containers: int = 0
    ollamas: tuple[Ollama, ...] = ()
    selinux: str = ""
    firewall: str = ""
    secure_boot: str = ""
    reboot_required: bool = False


@dataclass(frozen=True)
class Facts:
    """Both kinds, and what the probe could not find out (`notes`)."""

    identity: Identity
    readings: Readings
    notes: tuple[str, ...] = ()
