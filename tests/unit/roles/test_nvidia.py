"""What the role nvidia declares, and on which hosts it declares nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.facts.model import GPU, OS, Identity
from provision.resources.base import Resource
from provision.resources.cdi import CdiSpecification, DockerGpus
from provision.resources.docker_config import DockerConfig
from provision.resources.file import File
from provision.resources.nvidia_driver import KernelHeaders, NvidiaDriver, OldDriver
from provision.resources.package import Package
from provision.resources.repository import Repository
from provision.resources.service import Service
from provision.roles import load_role
from provision.templates import builtin
from provision.view import HostView
from tests.unit.samples import SERVER, one

ROLE = load_role("nvidia")
CARD = GPU("0000:01:00.0", "nvidia", "2684", "nvidia")
USABLE = replace(SERVER, gpus=(CARD,), nvidia_driver="580.95.05", nvidia_smi="580.95.05")
NONE = replace(SERVER, gpus=(replace(CARD, driver=""),))
OLD = replace(USABLE, nvidia_driver="535.183.01", nvidia_smi="535.183.01", nvidia_tools=True)
NOTHING = {
    "no GPU": SERVER,
    "an AMD GPU": replace(SERVER, gpus=(replace(CARD, vendor="amd", driver="amdgpu"),)),
    "a driver without a GPU": replace(USABLE, gpus=()),
    "a GPU that a virtual machine has": replace(SERVER, gpus=(replace(CARD, driver="vfio-pci"),)),
    "a container without a driver": replace(NONE, marks=frozenset({"container"})),
    "DGX OS without a driver": replace(NONE, marks=frozenset({"dgx"})),
    "WSL": replace(USABLE, marks=frozenset({"wsl"})),
    "Jetson": replace(USABLE, gpus=(replace(CARD, slot="soc"),), marks=frozenset({"jetson"})),
}


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


@pytest.mark.parametrize("identity", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_is_declared_where_it_would_be_of_no_use(identity: Identity) -> None:
    assert declare(identity) == []


def test_the_whole_in_order() -> None:
    resources = declare(runtime=True)
    assert [type(resource) for resource in resources] == [
        NvidiaDriver,
        Repository,
        Package,
        DockerConfig,
        Service,
        CdiSpecification,
        DockerGpus,
    ]
    assert one(CdiSpecification, resources).after == (one(Package, resources),)
    assert one(Service, resources).restart_on == (one(DockerConfig, resources),)


def test_docker_is_told_of_the_runtime_only_where_it_is_and_it_is_wanted() -> None:
    kinds = [NvidiaDriver, Repository, Package, CdiSpecification]
    assert [type(resource) for resource in declare(roles=("nvidia",), runtime=True)] == kinds
    assert [type(resource) for resource in declare()] == [*kinds, DockerGpus]


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


def ids(resources: list[Resource]) -> list[str]:
    """Ids, in order."""
    return [resource.id for resource in resources]


def test_a_driver_is_installed_where_there_is_none_and_nothing_that_needs_it_yet() -> None:
    resources = declare(replace(NONE, kernel="6.12.43+deb13-amd64"))
    assert ids(resources) == [
        "file:/etc/provision/nvidia-driver",
        "repository:nvidia-driver",
        "file:/etc/apt/preferences.d/provision-nvidia",
        "file:/etc/apt/apt.conf.d/52provision-nvidia",
        "file:/etc/modules-load.d/provision-nvidia.conf",
        "kernel-headers:running",
        "package:nvidia-driver-cuda+nvidia-kernel-open-dkms+nvidia-persistenced",
        "driver:nvidia",
    ]
    driver = one(NvidiaDriver, resources)
    assert (driver.minimum, driver.reboot, driver.signed) == (550, "never", False)
    assert driver.after == (one(KernelHeaders, resources), one(Package, resources))


def test_what_we_installed_stays_declared_once_it_works_and_its_daemon_runs() -> None:
    before = declare(replace(NONE, kernel="6.12.43+deb13-amd64"))
    after = declare(replace(USABLE, kernel="6.12.43+deb13-amd64", nvidia_own="580 open", nvidia_tools=True))
    assert after[: len(before)] == before
    assert ids(after)[len(before)] == "service:nvidia-persistenced"
    assert any(isinstance(resource, CdiSpecification) for resource in after)


@pytest.mark.parametrize("driver", ["auto", "keep"])
def test_a_driver_of_others_is_left_alone_new_or_too_old(driver: str) -> None:
    for identity in (USABLE, OLD, replace(OLD, nvidia_smi=""), replace(NONE, nvidia_tools=True)):
        declared = [resource for resource in declare(identity, driver=driver) if "driver" in resource.id]
        assert declared == [NvidiaDriver(550)]


def test_one_that_is_too_old_is_replaced_when_that_is_said() -> None:
    resources = declare(OLD, driver="replace")
    driver = one(NvidiaDriver, resources)
    assert driver.after[0] == one(OldDriver, resources) == OldDriver("535.183.01")
    assert ids(declare(USABLE, driver="replace"))[0] == "driver:nvidia"
    # Cut off after the first file was written, and after a reboot that did not come yet.
    assert OldDriver("535.183.01") in declare(replace(OLD, nvidia_own="580 open"), driver="replace")


def test_a_driver_that_is_none_of_ours_is_not_looked_at() -> None:
    assert "driver:nvidia" not in ids(declare(driver="none"))
    assert declare(NONE, driver="none") == []


def test_the_branch_is_pinned_and_held_against_unattended_upgrades() -> None:
    pin, hold = (file for file in declare(NONE) if isinstance(file, File) and file.path.startswith("/etc/apt/"))
    assert "Pin: version 580.*" in str(pin.content)
    assert '"libnvidia-";' in str(hold.content)
    assert "linux-image" not in str(hold.content)
    ubuntu = replace(NONE, os=OS("ubuntu", "24.04", "noble", "Ubuntu", "debian"), kernel="6.8.0-45-generic")
    resources = declare(ubuntu)
    (hold,) = (file for file in resources if isinstance(file, File) and file.path.startswith("/etc/apt/"))
    assert '"linux-image-";' in str(hold.content)
    assert one(NvidiaDriver, resources).signed
    assert not [resource for resource in resources if isinstance(resource, Repository)]
    assert "absent:/etc/apt/apt.conf.d/52provision-nvidia" in ids(declare(ubuntu, hold=False))


def test_the_drivers_repository_may_be_a_mirror_with_a_key_of_its_own(tmp_path: Path) -> None:
    official = one(Repository, declare(NONE))
    assert official.uri == "https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64"
    assert official.key == f"{official.uri}/8793F200.pub"
    (tmp_path / "own.asc").touch()
    mirror: dict[str, Any] = {
        "driver_repository": "http://mirror/cuda/",
        "driver_key": "own.asc",
        "driver_fingerprint": "A" * 40,
    }
    own = one(Repository, declare(NONE, folder=tmp_path, **mirror))
    assert (own.uri, own.key, own.fingerprint) == (
        "http://mirror/cuda/debian13/x86_64",
        tmp_path / "own.asc",
        "A" * 40,
    )


@pytest.mark.parametrize(
    ("os", "manager", "why"),
    [
        (OS("rocky", "10.0", "", "Rocky 10", "redhat"), "dnf", r"the fingerprint of .*/rhel10/x86_64/CDF6BA43\.pub is"),
        (OS("fedora", "99", "", "Fedora 99", "redhat"), "dnf5", r"the key of .*/fedora99/x86_64 is not known here"),
    ],
)
def test_a_key_that_is_not_known_is_refused_until_it_is_said(os: OS, manager: str, why: str) -> None:
    host = replace(NONE, os=os, package_manager=manager)
    with pytest.raises(ValueError, match=why):
        declare(host)
    said: dict[str, Any] = {"driver_key": "https://keys.office.lan/nvidia.pub", "driver_fingerprint": "A" * 40}
    found = one(Repository, declare(host, **said))
    assert (found.key, found.fingerprint) == (said["driver_key"], said["driver_fingerprint"])


def test_an_older_ollama_on_the_host_is_content_with_an_older_driver() -> None:
    old = load_role("ollama").Settings.model_validate({"version": "0.30.10"})
    view = HostView(
        "gpu", OLD, ("nvidia", "ollama"), {"ollama": old}, {}, builtin().render, lambda name: None, lambda name: ()
    )
    assert NvidiaDriver(531) in ROLE.declare(view, ROLE.Settings())
