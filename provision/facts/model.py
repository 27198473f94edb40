"""What a host is (`Identity`) and how it is at the moment (`Readings`).

Declarations see `Identity` only, so that they do not change from one run to the next; `Readings` are for
preflight and display.
"""

from collections.abc import Mapping
from dataclasses import field

from provision.dataclass import dataclass


@dataclass(frozen=True)
class OS:
    """From os-release. `family` is `debian`, `redhat`, `suse`, `arch` or the id itself when unknown.

    `codename` is the one that apt repositories know, "" where there is none: Mint 22 says `noble`, Kali nothing.
    `platform` and `variant` are PLATFORM_ID (`platform:el9`) and VARIANT_ID (`coreos`).
    """

    id: str
    version: str
    codename: str
    name: str
    family: str
    like: tuple[str, ...] = ()
    platform: str = ""
    variant: str = ""

    @property
    def major(self) -> str:
        """The version before its first dot: `24` of `24.04`, "" when there is no version."""
        return self.version.partition(".")[0]


@dataclass(frozen=True)
class GPU:
    """One display or accelerator device on the PCI bus. `vendor` is `nvidia`, `amd`, `intel` or the hex id.

    `device` is the PCI device id in hex without `0x`, `driver` the bound kernel driver or "", `memory` bytes or 0 when
    unknown (unified memory). `target` is what code is compiled for: `8.6` (NVIDIA compute capability), `gfx1100` (AMD).
    A Jetson's GPU, which is not on the bus, has the slot `soc`.
    """

    slot: str
    vendor: str
    device: str
    driver: str
    name: str = ""
    memory: int = 0
    uuid: str = ""
    target: str = ""


@dataclass(frozen=True)
class Identity:
    """What stays the same between runs: all that `declare()` may see.

    `arch` is `amd64`, `arm64` or what dpkg or uname says; it is the userland's, not the kernel's.
    `virtualization` is `none`, `docker`, `lxc`, `kvm`, `vmware`, ..., or `vm` when the kind is not known.
    `groups` maps group names to numbers (`render`, `video`, `docker`, `ollama`, and those of `gpu_groups`).
    `gpu_groups` are the numbers of the groups that own `/dev/kfd` and `/dev/dri/renderD*`, where not everybody may open
    them. In a container these are the numbers of its host: the name there may be another one, or none.
    `time_daemon` is the unit that keeps the clock in place of systemd-timesyncd (`chrony`, `ntpsec`), or "".
    `nvidia_driver` is the loaded kernel module's version or "", `nvidia_open` says that it is the open flavour,
    `nvidia_smi` the version that `nvidia-smi` reports or "" when it did not answer.
    `marks` holds `jetson`, `dgx`, `wsl`, `wsl1`, `container`, `ostree`, `nixos`, `alpine`, `musl`, `raspberrypi`,
    `mig`, `nvswitch`, `selinux` (enforcing or permissive). `jetson` is the L4T release (`R36`), `memory` is in bytes,
    `model` the machine's maker and name.
    `docker_package` is what the Docker engine came with: `docker.io`, `docker-ce`, `moby-engine`, `snap`, or
    `podman-docker`, which only looks like Docker, or "".
    `nvidia_tools` says that `nvidia-smi` is there, whether or not it answers; `nvidia_own` is the driver that we
    installed, as `580 open`, or ""; `nvidia_complaint` says why `nvidia-smi` was of no use, or "".
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
    time_daemon: str = ""
    marks: frozenset[str] = frozenset()
    groups: Mapping[str, int] = field(default_factory=dict)
    machine_id: str = ""
    address: str = ""
    nvidia_open: bool = False
    jetson: str = ""
    model: str = ""
    docker_package: str = ""
    nvidia_tools: bool = False
    nvidia_own: str = ""
    nvidia_complaint: str = ""
    gpu_groups: tuple[int, ...] = ()

    def has_gpu(self, vendor: str) -> bool:
        """Whether a device of that vendor is there, with or without a driver."""
        return any(gpu.vendor == vendor for gpu in self.gpus)

    @property
    def nvidia_usable(self) -> bool:
        """An NVIDIA GPU with a working driver: the module is loaded and `nvidia-smi` answered."""
        return self.has_gpu("nvidia") and bool(self.nvidia_driver) and bool(self.nvidia_smi)


@dataclass(frozen=True)
class FileSystem:
    """Where a path lives: sizes in bytes. The path itself need not exist yet."""

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
    """An `ollama` binary found on the host, and the version it says (without a server). `real` is behind its links."""

    path: str
    version: str = ""
    real: str = ""


@dataclass(frozen=True)
class Load:
    """What a GPU does now: bytes in use, per cent, degrees Celsius; None where the driver does not say."""

    slot: str
    memory_used: int | None = None
    utilization: int | None = None
    temperature: int | None = None


@dataclass(frozen=True)
class Readings:
    """How the host is now. Bytes, seconds, counts.

    `docker` is the version of the command line tool, `docker_running` whether the engine has a process.
    `selinux` is `enforcing`, `permissive` or ""; `firewall` is `ufw`, `firewalld`, `nftables` or "";
    `secure_boot` is `on`, `off` or "" (no UEFI).
    """

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
    docker_running: bool = False
    gpus: tuple[Load, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Both kinds, and what the probe could not find out (`notes`).

    `complete` is False when the probe did not come to its end: then what is missing may be there all the same.
    """

    identity: Identity
    readings: Readings
    notes: tuple[str, ...] = ()
    complete: bool = True
