"""GPU containers: NVIDIA's container toolkit, the CDI specification, the runtime in Docker's configuration.

Only on hosts with an NVIDIA GPU whose driver works; nothing on WSL 2 and Jetson, which bring their own. Ollama as a
host service does not need it.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from provision.resources.base import Resource
from provision.resources.cdi import CdiSpecification, DockerGpus
from provision.resources.docker_config import KEEP_CONTAINERS, RELOAD, RESTORE, DockerConfig
from provision.resources.package import Package
from provision.resources.repository import Repository, key_at, rpm_arch
from provision.resources.service import Service
from provision.view import HostView

SITE = "https://nvidia.github.io/libnvidia-container/stable"
# Primary key of NVIDIA's container toolkit repository (facts: cloud-native-docs, install-guide).
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


class Settings(BaseModel):
    """Settings of `nvidia`."""

    model_config = ConfigDict(extra="forbid")

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
    runtime: bool = Field(True, description="Add the `nvidia` runtime to Docker's configuration.")


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Repository, toolkit, Docker's configuration, the CDI specification; the proof that Docker offers the GPUs."""
    identity = host.identity
    if not identity.nvidia_usable or identity.marks & {"wsl", "jetson"}:
        return
    repositories = toolkit_repository(host, want)
    toolkit = Package(PACKAGES if repositories else PACKAGES[:1], identity.package_manager, after=repositories)
    specification = CdiSpecification(identity.nvidia_driver, after=(toolkit,))
    yield from repositories
    yield toolkit
    if not (want.runtime and "docker" in host.roles):
        yield specification
        return
    runtimes = {"nvidia": {"path": "nvidia-container-runtime", "args": []}}
    config = DockerConfig({"runtimes": runtimes}, part="nvidia")
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
    yield specification
    yield DockerGpus(after=("service:docker", "service:docker/nvidia", specification))


def toolkit_repository(host: HostView, want: Settings) -> tuple[Repository, ...]:
    """NVIDIA's; none where the distribution has the toolkit itself.

    Raises:
        ValueError: its key is not there.
    """
    os, arch, manager = host.identity.os, host.identity.arch, host.identity.package_manager
    if os.id == "fedora" or os.family == "arch":
        return ()
    name, key, proxy = "nvidia-container-toolkit", key_at(want.key, host.find), "/etc/provision/proxy.env"
    if os.family == "debian":
        uri = f"{(want.repository or f'{SITE}/deb').rstrip('/')}/{arch}"
        return (Repository(name, uri, "/", "", key, want.fingerprint, proxy_file=proxy),)
    # There the metadata is signed, not the packages (nvidia-container-toolkit.repo: repo_gpgcheck=1, gpgcheck=0).
    uri = f"{(want.repository or f'{SITE}/rpm').rstrip('/')}/{rpm_arch(arch)}"
    return (Repository(name, uri, "", "", key, want.fingerprint, proxy_file=proxy, manager=manager, signed="metadata"),)
