"""The Docker engine: the distribution's or Docker's own, with log rotation, mirrors and the proxy.

An engine that is there is kept with what runs on it: it is replaced by no other package, reloaded where that is enough
for a changed configuration, and restarted otherwise. `live_restore` counts before that: containers survive it.
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from provision.facts.model import OS, Identity
from provision.resources.base import Resource
from provision.resources.docker_config import KEEP_CONTAINERS, RELOAD, RESTORE, DockerConfig, merge
from provision.resources.file import Absent, File
from provision.resources.package import Package
from provision.resources.repository import Repository, key_at
from provision.resources.service import Service
from provision.values import sha256
from provision.view import HostView

# Docker's own key for Debian and Ubuntu (docs.docker.com: engine/install/debian).
FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
# Neither reads /etc/docker/daemon.json, and the service is not docker.service.
NO_ENGINE = {
    "snap": "Docker is a snap, which keeps its configuration elsewhere; save what its volumes hold, snap remove docker",
    "podman-docker": "podman-docker stands in Docker's place; apt-get remove podman-docker, or leave out this role",
}
PROXY_FILE = "/etc/provision/proxy.env"
PROXY_DROP_IN = "/etc/systemd/system/docker.service.d/50-provision-proxy.conf"


class Settings(BaseModel):
    """Settings of `docker`."""

    model_config = ConfigDict(extra="forbid")

    channel: Literal["distribution", "docker-ce"] = Field(
        "distribution", description="Where the engine comes from. One that is installed already is kept."
    )
    repository: str = Field(
        "https://download.docker.com/linux", description="For docker-ce: the repository, or a mirror of it."
    )
    key: str = Field(
        "",
        description="For docker-ce: the key, an address or a file beside the inventory; if empty, its own.",
    )
    fingerprint: str = Field(FINGERPRINT, description="The key's fingerprint.", pattern="^[0-9A-F]{40}$")
    log_max_size: str = Field("10m", description="A container's log is rotated at this size.")
    log_max_file: int = Field(3, ge=1, description="How many rotated logs are kept.")
    live_restore: bool = Field(True, description="Containers survive a restart of the engine.")
    mirrors: list[str] = Field(default=[], description="Mirrors of Docker Hub.", examples=["https://mirror.office.lan"])
    insecure_registries: list[str] = Field(
        default=[], description="Registries reached by plain http.", examples=["registry.office.lan:5000"]
    )
    daemon: dict[str, Any] = Field(default={}, description="More keys of daemon.json, as they are.")


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Repository, engine, configuration, service."""
    identity = host.identity
    source = origin(identity, want.channel)
    repositories: tuple[Resource, ...] = ()
    if source == want.channel == "docker-ce":
        repository = docker_ce(host, want)
        repositories = (repository,)
        yield repository
    engine = Package(packages(identity.os, source), after=repositories)
    proxy = proxy_drop_in(host)
    config = DockerConfig(daemon(want, cdi="nvidia" in host.roles))
    yield engine
    yield config
    yield proxy
    yield Service(
        "docker",
        enabled=True,
        running=True,
        restart_on=(engine, config, proxy),
        files=("/etc/docker/daemon.json", PROXY_DROP_IN, PROXY_FILE, "/usr/bin/dockerd"),
        before_restart=KEEP_CONTAINERS,
        on_reload=RELOAD,
        on_failure=RESTORE,
    )


def origin(identity: Identity, channel: str) -> str:
    """The package of the engine that is there, whatever is declared; else the declared one.

    Raises:
        ValueError: what is there cannot be configured.
    """
    if out := NO_ENGINE.get(identity.docker_package):
        raise ValueError(out)
    return identity.docker_package or ("docker-ce" if channel == "docker-ce" else "docker.io")


def packages(os: OS, source: str) -> tuple[str, ...]:
    """The engine's packages. From trixie on Debian has the client in a package of its own, only recommended."""
    if source == "docker-ce":
        return ("docker-ce", "docker-ce-cli", "containerd.io")
    if source != "docker.io":
        return (source,)
    if os.id == "debian" and int(os.version.partition(".")[0] or 0) >= 13:
        return ("docker.io", "docker-cli", "iptables")
    return ("docker.io", "iptables")


def docker_ce(host: HostView, want: Settings) -> Repository:
    """Docker's repository for this system.

    Raises:
        ValueError: its key is not there.
    """
    os = host.identity.os
    base = f"{want.repository.rstrip('/')}/{os.id}"
    key = key_at(want.key or f"{base}/gpg", host.find)
    fingerprint, arch = want.fingerprint, host.identity.arch
    return Repository("docker", base, os.codename, "stable", key, fingerprint, arch, proxy_file=PROXY_FILE)


def daemon(want: Settings, cdi: bool) -> dict[str, Any]:
    """Our keys of daemon.json. Values of `log-opts` must be text.

    `cdi` is said here and not by the role `nvidia`: before 28.2 an engine looks at it only when it starts.
    """
    keys: dict[str, Any] = {
        "log-driver": "json-file",
        "log-opts": {"max-size": want.log_max_size, "max-file": str(want.log_max_file)},
        "live-restore": want.live_restore,
    }
    if want.mirrors:
        keys["registry-mirrors"] = want.mirrors
    if want.insecure_registries:
        keys["insecure-registries"] = want.insecure_registries
    keys |= want.daemon
    return merge({"features": {"cdi": True}}, keys) if cdi else keys


def proxy_drop_in(host: HostView) -> Resource:
    """The engine reads the proxy from the file of `base`: a drop-in with the password in it could be read by all."""
    base = host.settings.get("base")
    if base is None or base.proxy is None:
        return Absent(PROXY_DROP_IN, "no proxy is declared")
    # The digest makes a changed proxy a changed drop-in. A password is not in it: the drop-in can be read by all.
    mark = sha256(repr(base.proxy.model_dump()))[:12]
    return File(PROXY_DROP_IN, f"# {mark}\n[Service]\nEnvironmentFile=-{PROXY_FILE}\n")
