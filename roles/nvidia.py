"""The NVIDIA driver, then GPU containers: NVIDIA's container toolkit, the CDI specification, Docker's runtime.

A driver is installed where none is, from the branch 580: on Ubuntu its own packages, whose modules Secure Boot accepts;
on Debian NVIDIA's. One that works and is new enough for Ollama is left alone, and so is every driver of WSL 2, a
Jetson, a DGX, a container, and a GPU that is bound to vfio-pci. The toolkit follows once the driver works: in the same
run if that needs no reboot or `reboot: if-needed` allows one; when a plan file is applied, with the next plan. Ollama
as a host service needs the driver only.
"""

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from provision import drivers
from provision.facts.model import Identity
from provision.proxy import PROXY_FILE
from provision.resources.base import Resource
from provision.resources.cdi import CdiSpecification, DockerGpus
from provision.resources.docker_config import KEEP_CONTAINERS, RELOAD, RESTORE, DockerConfig
from provision.resources.file import Absent, File
from provision.resources.module_stream import ModuleStream
from provision.resources.nvidia_driver import KernelHeaders, NvidiaDriver, OldDriver
from provision.resources.package import Package
from provision.resources.repository import Repository, key_at, rpm_arch
from provision.resources.selinux import SelinuxBoolean
from provision.resources.service import Service
from provision.view import HostView

SITE = "https://nvidia.github.io/libnvidia-container/stable"
# Primary key of NVIDIA's container toolkit repository (facts: cloud-native-docs, install-guide).
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
HOLD = "/etc/apt/apt.conf.d/52provision-nvidia"
PIN = "/etc/apt/preferences.d/provision-nvidia"
# Nothing may make /dev/nvidia-uvm later on for a service that gains no privileges.
MODULES = "/etc/modules-load.d/provision-nvidia.conf"
# From here on it makes a CDI specification anew after each upgrade of the driver.
TOOLKIT = "1.18"
# NVIDIA's are all of one version: they depend on each other exactly. A distribution's own, the first, brings the rest.
PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


class Settings(BaseModel):
    """Settings of `nvidia`."""

    model_config = ConfigDict(extra="forbid")

    driver: Literal["auto", "replace", "keep", "none"] = Field(
        "auto",
        description="`auto` installs one where there is none; `replace` also one in place of one that is too old;"
        " `keep` installs none, and loads the one that is there; `none` does not look at it. On Red Hat's family the"
        " modules are built by dkms, which comes from EPEL: `base.packages: [epel-release]`.",
    )
    reboot: Literal["never", "if-needed"] = Field(
        "never",
        description="Where only a reboot brings the driver up (nouveau or an older one is loaded): `never` says so and"
        " goes on with the rest, `if-needed` reboots, connects again and goes on.",
    )
    hold: bool = Field(
        True,
        description="Unattended upgrades (by apt) leave a driver that was installed here alone, and on Ubuntu the"
        " kernel, whose modules come with it: they would end the GPU's work until a reboot. `apt upgrade` upgrades"
        " both.",
    )
    driver_repository: str = Field(
        "https://developer.download.nvidia.com/compute/cuda/repos",
        description="NVIDIA's repositories with the driver, or a mirror of them: it has `debian13/x86_64` and so on.",
    )
    driver_key: str = Field(
        "", description="That repository's key: an address, or a file beside the inventory; if empty, its own."
    )
    driver_fingerprint: str = Field(
        "",
        description="That key's fingerprint; if empty, NVIDIA's, which is not known here for the distributions of"
        " Red Hat's version 10 and Fedora 43.",
        pattern="^([0-9A-F]{40})?$",
    )
    repository: str = Field(
        "",
        description="The toolkit's repository, or a mirror of it; if empty, NVIDIA's own for the family.",
        examples=["http://mirror.office.lan/libnvidia-container/stable/deb"],
    )
    key: str = Field(
        "https://nvidia.github.io/libnvidia-container/gpgkey",
        description="The repository's key: an address, or a file beside the inventory.",
    )
    fingerprint: str = Field(FINGERPRINT, description="The key's fingerprint.", pattern="^[0-9A-F]{40}$")
    runtime: bool = Field(
        False,
        description="Add the `nvidia` runtime to Docker's configuration, for containers that ask for it by name."
        " Engines before 25.0, such as Debian 12's own, give GPUs to containers in this way only; others by CDI.",
    )


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """The driver; where it works the toolkit, Docker's configuration, the specification, Docker's proof."""
    identity = host.identity
    if want.driver != "none" and not drivers.hands_off(identity):
        yield from driver(host, want)
    if identity.nvidia_usable and not identity.marks & {"wsl", "jetson"}:
        yield from containers(host, want)


def driver(host: HostView, want: Settings) -> Iterator[Resource]:
    """What installs it if that is up to us, and the module.

    Raises:
        ValueError: no driver serves all GPUs, or the distribution has none that could be installed.
    """
    identity = host.identity
    need = drivers.needed(identity, ollama_version(host))
    if not installs(identity, need, want):
        yield NvidiaDriver(need.minimum, want.reboot, complaint=identity.nvidia_complaint)
        return
    found, manager = drivers.packages(identity, need), identity.package_manager
    yield File(drivers.MARKER, f"{drivers.BRANCH} {need.flavour}\n")
    if found.folder:
        yield nvidias_own(host, want, found.folder)
        if identity.os.family == "debian":
            yield File(PIN, pin())
    if identity.os.family == "debian":
        yield File(HOLD, held(found.kept)) if want.hold else Absent(HOLD, "nvidia.hold is false")
    yield File(MODULES, "nvidia\nnvidia-uvm\n")
    if found.stream:
        module, _, stream = found.stream.partition(":")
        yield ModuleStream(module, stream)
    install: tuple[Resource, ...] = (Package(found.names, manager),)
    if found.headers:
        install = (KernelHeaders(Package(found.headers, manager)), *install)
    if identity.nvidia_driver and drivers.branch(identity.nvidia_driver) < need.minimum:
        install = (OldDriver(identity.nvidia_driver), *install)
    yield from install
    complaint = identity.nvidia_complaint
    yield NvidiaDriver(need.minimum, want.reboot, after=install, signed=found.signed, complaint=complaint)
    if identity.nvidia_usable:
        for name in found.services:
            yield Service(name)


def installs(identity: Identity, need: drivers.Need, want: Settings) -> bool:
    """Whether the driver is ours: it was, or there is none, or one that is too old and may be replaced."""
    if want.driver == "keep":
        return False
    if identity.nvidia_own:
        return True
    if not identity.nvidia_driver:
        return not identity.nvidia_tools
    return want.driver == "replace" and drivers.branch(identity.nvidia_driver) < need.minimum


def ollama_version(host: HostView) -> tuple[int, ...]:
    """The version that is to run on this host; () where it has no such role."""
    settings = host.settings.get("ollama")
    return tuple(int(part) for part in re.findall(r"\d+", settings.version)[:3]) if settings else ()


def nvidias_own(host: HostView, want: Settings, folder: str) -> Repository:
    """NVIDIA's repository of drivers for this system.

    Raises:
        ValueError: its key is not there, or which one it is nobody said.
    """
    uri = f"{want.driver_repository.rstrip('/')}/{folder}"
    file, fingerprint = drivers.repository_key(folder)
    if not (file or want.driver_key):
        raise ValueError(f"the key of {uri} is not known here: say nvidia.driver_key and nvidia.driver_fingerprint")
    if not (fingerprint or want.driver_fingerprint):
        raise ValueError(
            f"the fingerprint of {want.driver_key or f'{uri}/{file}'} is not known here: say nvidia.driver_fingerprint "
            "once you have compared it, or install a driver, it is kept"
        )
    key = key_at(want.driver_key or f"{uri}/{file}", host.find)
    suite, manager = "/" if host.identity.os.family == "debian" else "", host.identity.package_manager
    wanted = want.driver_fingerprint or fingerprint
    return Repository("nvidia-driver", uri, suite, "", key, wanted, proxy_file=PROXY_FILE, manager=manager)


def pin() -> str:
    """The branch is kept, whatever newer one the repository has: 590 dropped GPUs that 580 serves."""
    return f"Package: *nvidia* libcuda* libnv* libxnvctrl*\nPin: version {drivers.BRANCH}.*\nPin-Priority: 900\n"


def held(prefixes: tuple[str, ...]) -> str:
    """What unattended-upgrades leaves alone; its patterns match the beginnings of names."""
    names = "".join(f'    "{prefix}";\n' for prefix in prefixes)
    return f"Unattended-Upgrade::Package-Blacklist {{\n{names}}};\n"


def containers(host: HostView, want: Settings) -> Iterator[Resource]:
    """What gives the GPUs to containers."""
    identity = host.identity
    repositories = toolkit_repository(host, want)
    names, oldest = (PACKAGES, TOOLKIT) if repositories else (PACKAGES[:1], "")
    toolkit = Package(names, identity.package_manager, oldest)
    specification = CdiSpecification(identity.nvidia_driver, after=(toolkit,))
    yield from repositories
    yield toolkit
    if "selinux" in identity.marks and "docker" in host.roles:
        # Else a container sees its GPUs and may not open them. The engine's packages bring the boolean.
        yield SelinuxBoolean("container_use_devices", package="container-selinux", after=("service:docker",))
    if "docker" not in host.roles:
        yield specification
        return
    if want.runtime:
        yield from runtime()
    yield specification
    yield DockerGpus(("service:docker", "service:docker/nvidia", specification), want.runtime)


def runtime() -> Iterator[Resource]:
    """Docker's configuration with the runtime `nvidia`, and the engine that has read it."""
    config = DockerConfig({"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}, part="nvidia")
    yield config
    yield Service(
        "docker",
        enabled=None,
        restart_on=(config,),
        before_restart=KEEP_CONTAINERS,
        on_reload=RELOAD,
        on_failure=RESTORE,
        part="nvidia",
    )


def toolkit_repository(host: HostView, want: Settings) -> tuple[Repository, ...]:
    """NVIDIA's; none where the distribution has the toolkit itself.

    Raises:
        ValueError: its key is not there.
    """
    os, arch, manager = host.identity.os, host.identity.arch, host.identity.package_manager
    if os.id == "fedora" or os.family == "arch":
        return ()
    name, key, proxy = "nvidia-container-toolkit", key_at(want.key, host.find), PROXY_FILE
    if os.family == "debian":
        uri = f"{(want.repository or f'{SITE}/deb').rstrip('/')}/{arch}"
        return (Repository(name, uri, "/", "", key, want.fingerprint, proxy_file=proxy),)
    # There the metadata is signed, not the packages (nvidia-container-toolkit.repo: repo_gpgcheck=1, gpgcheck=0).
    uri = f"{(want.repository or f'{SITE}/rpm').rstrip('/')}/{rpm_arch(arch)}"
    return (Repository(name, uri, "", "", key, want.fingerprint, proxy_file=proxy, manager=manager, signed="metadata"),)
