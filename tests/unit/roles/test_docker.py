"""What the role docker declares: the engine that is there is kept, whatever the channel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.facts.model import OS
from provision.resources.base import Resource
from provision.resources.docker_zone import DockerZone
from provision.resources.other_engine import OtherEngine
from provision.resources.package import Package
from provision.resources.repository import Repository
from provision.resources.service import Service
from provision.roles import load_role
from provision.templates import builtin
from provision.view import HostView
from tests.unit.samples import DEBIAN, SERVER, all_of

ROLE = load_role("docker")
CE = ("docker-ce", "docker-ce-cli", "containerd.io")
DEBIANS = ("docker.io", "docker-cli", "iptables")


def declare(package: str = "", folder: Path = Path("/missing"), os: OS = DEBIAN, **settings: Any) -> list[Resource]:
    """What is declared with these settings on a host whose engine came with a package."""

    def find(name: str) -> Path | None:
        return path if (path := folder / name).exists() else None

    manager = {"debian": "apt", "redhat": "dnf", "arch": "pacman"}[os.family]
    identity = replace(SERVER, docker_package=package, os=os, package_manager=manager)
    view = HostView("web", identity, ("docker",), {}, {}, builtin().render, find, lambda name: ())
    return list(ROLE.declare(view, ROLE.Settings.model_validate(settings)))


@pytest.mark.parametrize(
    ("package", "channel", "names", "repositories"),
    [
        ("", "distribution", DEBIANS, 0),
        ("", "docker-ce", CE, 1),
        ("docker.io", "distribution", DEBIANS, 0),
        ("docker-ce", "docker-ce", CE, 1),
        ("docker-ce", "distribution", CE, 0),
        ("docker.io", "docker-ce", DEBIANS, 0),
        ("moby-engine", "docker-ce", ("moby-engine",), 0),
    ],
)
def test_an_engine_that_is_there_is_kept(package: str, channel: str, names: tuple[str, ...], repositories: int) -> None:
    resources = declare(package, channel=channel)
    assert [one.names for one in all_of(Package, resources)] == [names]
    assert len(all_of(Repository, resources)) == repositories


@pytest.mark.parametrize(
    ("package", "channel", "names"),
    [
        ("docker.io", "docker-ce", CE),
        ("moby-engine", "docker-ce", CE),
        ("docker-ce", "distribution", DEBIANS),
        ("podman-docker", None, DEBIANS),
        ("docker-ce", "docker-ce", None),
        ("docker-ce", None, None),
        ("", "docker-ce", None),
    ],
)
def test_only_a_declared_channel_replaces_an_engine(
    package: str, channel: str | None, names: tuple[str, ...] | None
) -> None:
    resources = declare(package, channel=channel, replace=True)
    exchanged = all_of(OtherEngine, resources)
    assert [(one.old, one.new, one.replace) for one in exchanged] == ([(package, names, True)] if names else [])
    assert len(all_of(Package, resources)) == (0 if names else 1)
    (zone,) = all_of(DockerZone, resources)
    assert all_of(OtherEngine, [one for one in zone.after if not isinstance(one, str)]) == exchanged
    # The exchange starts the engine and what ran: a restart after it would stop what has no restart policy.
    (service,) = all_of(Service, resources)
    assert all_of(OtherEngine, list(service.restart_on)) == []
    assert all_of(Package, list(service.restart_on)) == all_of(Package, resources)


def test_without_replace_another_engine_is_only_named() -> None:
    (kept,) = all_of(OtherEngine, declare("docker.io", channel="docker-ce"))
    assert (kept.old, kept.new, kept.replace) == ("docker.io", CE, False)


def test_a_manager_that_cannot_exchange_engines_is_told() -> None:
    fedora = OTHERS["fedora"][0]
    with pytest.raises(ValueError, match=r"works by apt only: remove moby-engine on the host"):
        declare("moby-engine", channel="docker-ce", replace=True, os=fedora)


@pytest.mark.parametrize(
    ("package", "settings", "way_out"),
    [
        ("snap", {}, "snap remove docker"),
        ("snap", {"channel": "docker-ce", "replace": True}, "snap remove docker"),
        ("podman-docker", {}, "remove podman-docker on the host, say docker.replace: true"),
        ("podman-docker", {"channel": "docker-ce"}, "remove podman-docker on the host, say docker.replace: true"),
    ],
)
def test_what_cannot_be_configured_is_refused_with_the_way_out(
    package: str, settings: dict[str, Any], way_out: str
) -> None:
    with pytest.raises(ValueError, match=way_out):
        declare(package, **settings)


def test_the_key_is_the_repository_s_own_or_a_file_or_another_address(tmp_path: Path) -> None:
    def key(**settings: Any) -> str | Path:
        (found,) = all_of(Repository, declare(folder=tmp_path, channel="docker-ce", **settings))
        return found.key

    mirror = "http://mirror.office.lan/docker/"
    (tmp_path / "docker.asc").touch()
    assert key(repository=mirror) == "http://mirror.office.lan/docker/debian/gpg"
    assert key(repository=mirror, key="https://keys.office.lan/docker") == "https://keys.office.lan/docker"
    assert key(key="docker.asc") == tmp_path / "docker.asc"
    with pytest.raises(ValueError, match=r"the key gone\.asc is neither an address nor a file"):
        key(key="gone.asc")


ROCKY = OS("rocky", "9.6", "", "Rocky Linux 9.6", "redhat")
OTHERS = {
    "rocky": (ROCKY, None, "docker-ce"),
    "fedora": (OS("fedora", "43", "", "Fedora 43", "redhat"), None, "moby-engine"),
    "fedora, Docker's": (OS("fedora", "43", "", "Fedora 43", "redhat"), "docker-ce", "docker-ce"),
    "amazon": (OS("amzn", "2023", "", "Amazon Linux 2023", "redhat"), None, "docker"),
    "arch": (OS("arch", "", "", "Arch Linux", "arch"), "distribution", "docker"),
}


@pytest.mark.parametrize(("os", "wanted", "package"), OTHERS.values(), ids=OTHERS)
def test_each_family_has_its_engine(os: OS, wanted: str | None, package: str) -> None:
    declared = declare(os=os, channel=wanted)
    assert [one.names[0] for one in declared if isinstance(one, Package)] == [package]
    assert bool([one for one in declared if isinstance(one, Repository)]) == (package == "docker-ce")


@pytest.mark.parametrize(
    ("os", "wanted", "why"),
    [
        (ROCKY, "distribution", "Rocky Linux 9.6 has no Docker of its own; leave out docker.channel, or say docker-ce"),
        (OTHERS["arch"][0], "docker-ce", "Docker has no packages for Arch Linux; leave out docker.channel"),
    ],
)
def test_a_channel_that_there_is_not_is_refused(os: OS, wanted: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        declare(os=os, channel=wanted)
