"""The Docker engine: the distribution's or Docker's own, with log rotation, mirrors and the proxy.

An engine that is there is kept with what runs on it, unless `replace` says otherwise: it is reloaded where that is
enough for a changed configuration, and restarted otherwise. `live_restore` counts before that: containers survive it.
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from provision.facts.model import OS, Identity
from provision.proxy import PROXY_FILE, proxy_mark
from provision.resources.base import Resource
from provision.resources.docker_config import KEEP_CONTAINERS, RELOAD, RESTORE, DockerConfig, merge
from provision.resources.docker_zone import DockerZone
from provision.resources.file import Absent, File
from provision.resources.other_engine import OtherEngine
from provision.resources.package import Package
from provision.resources.repository import Repository, key_at, rpm_arch
from provision.resources.service import Service
from provision.view import HostView

# Docker's own keys (docs.docker.com: engine/install/debian, engine/install/rhel).
FINGERPRINTS = {
    "debian": "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
    "redhat": "060A61C51B558A7F742B77AAC52FEB6B621E9F35",
}
# The distribution's own engine, by id or family. Red Hat's and its rebuilds have none, only podman.
OWN: dict[str, tuple[str, ...]] = {
    "debian": ("docker.io", "iptables"),
    "fedora": ("moby-engine", "docker-cli"),
    "amzn": ("docker",),
    "suse": ("docker",),
    "arch": ("docker",),
}
DOCKER_CE = ("docker-ce", "docker-ce-cli", "containerd.io")
# Where Docker's own packages are, below `repository`, by id.
SITES = {
    "debian": "debian",
    "ubuntu": "ubuntu",
    "fedora": "fedora",
    "rhel": "rhel",
    "centos": "centos",
    "rocky": "centos",
    "almalinux": "centos",
    "ol": "centos",
}
# Neither reads /etc/docker/daemon.json, and the service is not docker.service.
NO_ENGINE = {
    "snap": "Docker is a snap, which keeps its configuration elsewhere; save what its volumes hold, snap remove docker",
    "podman-docker": "podman-docker stands in Docker's place; remove podman-docker on the host, say"
    " docker.replace: true, or leave out this role",
}
PROXY_DROP_IN = "/etc/systemd/system/docker.service.d/50-provision-proxy.conf"


class Settings(BaseModel):
    """Settings of `docker`."""

    model_config = ConfigDict(extra="forbid")

    channel: Literal["distribution", "docker-ce"] | None = Field(
        None,
        description="Where the engine comes from: by default the distribution, or Docker where that has none."
        " One that is installed already is kept.",
    )
    replace: bool = Field(
        False,
        description="An engine from elsewhere than `channel` says, or podman-docker, is replaced (by apt), although"
        " containers run on it: they stop for that and are started again.",
    )
    repository: str = Field(
        "https://download.docker.com/linux", description="For docker-ce: the repository, or a mirror of it."
    )
    key: str = Field(
        "",
        description="For docker-ce: the key, an address or a file beside the inventory; if empty, its own.",
    )
    fingerprint: str = Field(
        "", description="The key's fingerprint; if empty, that of Docker's own.", pattern="^([0-9A-F]{40})?$"
    )
    log_max_size: str = Field("10m", description="A container's log is rotated at this size.")
    log_max_file: int = Field(3, ge=1, description="How many rotated logs are kept.")
    live_restore: bool = Field(True, description="Containers survive a restart of the engine.")
    mirrors: list[str] = Field(default=[], description="Mirrors of Docker Hub.", examples=["https://mirror.office.lan"])
    insecure_registries: list[str] = Field(
        default=[], description="Registries reached by plain http.", examples=["registry.office.lan:5000"]
    )
    daemon: dict[str, Any] = Field(default={}, description="More keys of daemon.json, as they are.")


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Repository, engine, configuration, service; then the zone of its bridge."""
    identity = host.identity
    other = other_engine(identity, want)
    replaced = other is not None and want.replace
    source = wanted(identity.os, want.channel) if replaced else origin(identity, want.channel)
    if source == "docker-ce" and channel(identity.os, want.channel) == "docker-ce":
        yield docker_ce(host, want)
    exchange: tuple[Resource, ...] = ()
    if other is not None:
        names = packages(identity.os, wanted(identity.os, want.channel))
        exchange = (OtherEngine(other, names, want.replace),)
        yield from exchange
    # An exchange starts the new engine, and what ran on the old one: to start it anew would stop that again.
    packaged = () if replaced else (Package(packages(identity.os, source), identity.package_manager),)
    yield from packaged
    proxy = proxy_drop_in(host)
    config = DockerConfig(daemon(want, cdi="nvidia" in host.roles))
    yield config
    yield proxy
    yield Service(
        "docker",
        enabled=True,
        running=True,
        restart_on=(*packaged, config, proxy),
        files=("/etc/docker/daemon.json", PROXY_DROP_IN, PROXY_FILE, "/usr/bin/dockerd"),
        before_restart=KEEP_CONTAINERS,
        on_reload=RELOAD,
        on_failure=RESTORE,
    )
    yield DockerZone(("service:docker", *exchange))


def own(os: OS) -> tuple[str, ...]:
    """The distribution's engine; empty where it has none. From trixie on Debian has the client in another package."""
    names = OWN.get(os.id) or OWN.get(os.family, ())
    return (names[0], "docker-cli", *names[1:]) if os.id == "debian" and int(os.major or 0) >= 13 else names


def channel(os: OS, declared: str | None) -> str:
    """Where the engine comes from.

    Raises:
        ValueError: it cannot come from there.
    """
    if declared == "docker-ce" and os.id not in SITES:
        raise ValueError(f"Docker has no packages for {os.name}; leave out docker.channel for its own")
    if declared == "distribution" and not own(os):
        raise ValueError(f"{os.name} has no Docker of its own; leave out docker.channel, or say docker-ce")
    return declared or ("distribution" if own(os) else "docker-ce")


def origin(identity: Identity, declared: str | None) -> str:
    """The package of the engine that is there, whatever is declared; else the declared one.

    Raises:
        ValueError: what is there cannot be configured, or what is declared not be had.
    """
    if out := NO_ENGINE.get(identity.docker_package):
        raise ValueError(out)
    if identity.docker_package:
        return identity.docker_package
    return wanted(identity.os, declared)


def wanted(os: OS, declared: str | None) -> str:
    """The package of the declared engine.

    Raises:
        ValueError: it is not to be had.
    """
    return "docker-ce" if channel(os, declared) == "docker-ce" else own(os)[0]


def other_engine(identity: Identity, want: Settings) -> str | None:
    """The package of an engine that is there and is not the declared one; None where nothing is declared against it.

    Raises:
        ValueError: it cannot be replaced as declared.
    """
    there = identity.docker_package
    if there == "podman-docker":
        differs = want.replace
    else:
        differs = bool(there) and there != "snap" and want.channel is not None
        differs = differs and there != wanted(identity.os, want.channel)
    if not differs:
        return None
    if identity.package_manager != "apt":
        if not want.replace:
            return None
        raise ValueError(f"docker.replace works by apt only: remove {there} on the host, then apply again")
    return there


def packages(os: OS, source: str) -> tuple[str, ...]:
    """The packages that go with an engine's."""
    return next((names for names in (DOCKER_CE, own(os)) if source in names[:1]), (source,))


def docker_ce(host: HostView, want: Settings) -> Repository:
    """Docker's repository for this system.

    Raises:
        ValueError: its key is not there.
    """
    os, arch = host.identity.os, host.identity.arch
    base = f"{want.repository.rstrip('/')}/{SITES[os.id]}"
    key = key_at(want.key or f"{base}/gpg", host.find)
    fingerprint = want.fingerprint or FINGERPRINTS[os.family]
    if os.family == "debian":
        return Repository("docker", base, os.codename, "stable", key, fingerprint, arch, proxy_file=PROXY_FILE)
    uri = f"{base}/{os.major}/{rpm_arch(arch)}/stable"
    return Repository(
        "docker", uri, "", "", key, fingerprint, proxy_file=PROXY_FILE, manager=host.identity.package_manager
    )


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
    if mark := proxy_mark(host):
        return File(PROXY_DROP_IN, f"# {mark}\n[Service]\nEnvironmentFile=-{PROXY_FILE}\n")
    return Absent(PROXY_DROP_IN, "no proxy is declared")
