"""What the role nvidia declares, and on which hosts it declares nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from provision.facts.model import GPU, OS, Identity
from provision.resources.base import Resource
from provision.resources.cdi import CdiSpecification, DockerGpus
from provision.resources.docker_config import DockerConfig
from provision.resources.package import Package
from provision.resources.repository import Repository
from provision.resources.service import Service
from provision.roles import load_role
from provision.templates import builtin
from provision.view import HostView

ROLE = load_role("nvidia")
DEBIAN = OS("debian", "13", "trixie", "Debian 13", "debian")
CARD = GPU("0000:01:00.0", "nvidia", "2684", "nvidia")
PLAIN = Identity("gpu", DEBIAN, "amd64", "6.12", "systemd", "none", "apt", "cpu", 2, 1 << 33)
USABLE = replace(PLAIN, gpus=(CARD,), nvidia_driver="580.95.05", nvidia_smi="580.95.05")
NOTHING = {
    "no GPU": PLAIN,
    "an AMD GPU": replace(PLAIN, gpus=(replace(CARD, vendor="amd", driver="amdgpu"),)),
    "no driver": replace(PLAIN, gpus=(replace(CARD, driver=""),)),
    "nvidia-smi does not answer": replace(USABLE, nvidia_smi=""),
    "a driver without a GPU": replace(USABLE, gpus=()),
    "WSL": replace(USABLE, marks=frozenset({"wsl"})),
    "Jetson": replace(USABLE, gpus=(replace(CARD, slot="soc"),), marks=frozenset({"jetson"})),
}

T = TypeVar("T")


def declare(
    identity: Identity = USABLE,
    roles: tuple[str, ...] = ("docker", "nvidia"),
    folder: Path = Path("/missing"),
    **settings: Any,
) -> list[Resource]:
    """What is declared with these settings; files are found in the folder."""

    def find(name: str) -> Path | None:
        return path if (path := folder / name).exists() else None

    view = HostView("gpu", identity, roles, {}, {}, builtin().render, find, lambda name: ())
    return list(ROLE.declare(view, ROLE.Settings.model_validate(settings)))


def one(kind: type[T], resources: list[Resource]) -> T:
    """The only resource of a kind."""
    (found,) = (resource for resource in resources if isinstance(resource, kind))
    return found


@pytest.mark.parametrize("identity", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_is_declared_where_it_would_be_of_no_use(identity: Identity) -> None:
    assert declare(identity) == []


def test_the_whole_in_order() -> None:
    resources = declare()
    assert [type(resource) for resource in resources] == [
        Repository,
        Package,
        DockerConfig,
        Service,
        CdiSpecification,
        DockerGpus,
    ]
    repository, toolkit = one(Repository, resources), one(Package, resources)
    assert toolkit.after == (repository,)
    assert one(CdiSpecification, resources).after == (toolkit,)
    assert one(Service, resources).restart_on == (one(DockerConfig, resources),)


def test_docker_is_told_of_the_runtime_only_where_it_is_and_it_is_wanted() -> None:
    kinds = [Repository, Package, CdiSpecification]
    assert [type(resource) for resource in declare(roles=("nvidia",))] == kinds
    assert [type(resource) for resource in declare(runtime=False)] == kinds


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_mirror_has_a_folder_for_each_architecture(arch: str) -> None:
    resources = declare(replace(USABLE, arch=arch), repository="http://mirror.office.lan/nvidia/")
    repository = one(Repository, resources)
    assert (repository.uri, repository.suites) == (f"http://mirror.office.lan/nvidia/{arch}", "/")


def test_another_driver_is_another_specification() -> None:
    newer = replace(USABLE, nvidia_driver="590.1")
    assert one(CdiSpecification, declare()) != one(CdiSpecification, declare(newer))


def test_the_key_may_be_a_file_beside_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "nvidia.asc").touch()
    assert one(Repository, declare(folder=tmp_path, key="nvidia.asc")).key == tmp_path / "nvidia.asc"
    with pytest.raises(ValueError, match=r"the key gone\.asc is neither an address nor a file"):
        declare(folder=tmp_path, key="gone.asc")
