"""Which driver is chosen: by the GPU's PCI id, the distribution, and what must be left alone."""

from dataclasses import replace

import pytest

from provision.drivers import Need, branch, hands_off, needed, packages, repository_key
from provision.facts.model import GPU, OS, Identity
from tests.unit.samples import DEBIAN, SERVER

UBUNTU = OS("ubuntu", "24.04", "noble", "Ubuntu 24.04", "debian")
HOST = replace(SERVER, kernel="6.12.43+deb13-amd64")
IDS = {
    "maxwell": "13c2",
    "pascal": "1b80",
    "volta": "1db6",
    "turing": "1eb8",
    "ampere": "2204",
    "ada": "2684",
    "hopper": "2330",
    "blackwell": "2b85",
    "unknown": "ffff",
    "kepler": "102d",
}


def host(*kinds: str, driver: str = "", **changes: object) -> Identity:
    """A host with GPUs of these architectures."""
    gpus = tuple(GPU(f"0000:0{number}:00.0", "nvidia", IDS[kind], driver) for number, kind in enumerate(kinds, 1))
    return replace(HOST, gpus=gpus, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kinds", "flavour", "minimum"),
    [
        (("maxwell",), "proprietary", 570),
        (("pascal",), "proprietary", 570),
        (("volta",), "proprietary", 550),
        (("turing",), "open", 550),
        (("ampere", "ada"), "open", 550),
        (("hopper",), "open", 550),
        (("blackwell",), "open", 570),
        (("unknown",), "open", 550),
        (("pascal", "ada"), "proprietary", 570),
        (("kepler", "ada"), "open", 550),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_flavour_and_oldest_branch_follow_the_architecture(kinds: tuple[str, ...], flavour: str, minimum: int) -> None:
    need = needed(host(*kinds))
    assert (need.flavour, need.minimum) == (flavour, minimum)


def test_an_older_ollama_is_content_with_an_older_driver() -> None:
    assert needed(host("ada"), (0, 30, 10)).minimum == 531
    assert needed(host("ada"), (0, 30, 11)).minimum == 550
    assert needed(host("blackwell"), (0, 17, 1)).minimum == 570


def test_cards_that_no_driver_serves_together_are_named() -> None:
    with pytest.raises(ValueError, match=r"serves both Pascal at 0000:01:00\.0.*Blackwell at 0000:02:00\.0"):
        needed(host("pascal", "blackwell"))


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        (HOST, "no NVIDIA GPU"),
        (replace(HOST, gpus=(GPU("0000:01:00.0", "amd", "744c", "amdgpu"),)), "no NVIDIA GPU"),
        (host("ada", driver="vfio-pci"), "virtual machines"),
        (host("kepler"), "before Maxwell"),
        (host("ada", marks=frozenset({"wsl"})), "WSL"),
        (host("ada", marks=frozenset({"jetson"})), "Jetson"),
        (host("blackwell", marks=frozenset({"dgx"})), "DGX OS"),
        (host("ada", marks=frozenset({"container"})), "a container"),
        (host("ada", virtualization="lxc"), "a container"),
        (host("ada", driver="nouveau"), ""),
        (host("ada", virtualization="kvm"), ""),
    ],
)
def test_where_no_driver_is_touched(identity: Identity, why: str) -> None:
    assert why in hands_off(identity)
    assert bool(why) == bool(hands_off(identity))


def names(os: OS, kernel: str, need: Need | None = None, arch: str = "amd64", kinds: tuple[str, ...] = ("ada",)) -> str:
    """The packages, in one line."""
    identity = replace(host(*kinds), os=os, kernel=kernel, arch=arch)
    found = packages(identity, need or needed(identity))
    return " ".join((*found.headers, *found.names))


@pytest.mark.parametrize(
    ("kernel", "flavour"),
    [
        ("6.8.0-45-generic", "generic"),
        ("6.14.0-27-generic", "generic-hwe-24.04"),
        ("6.8.0-45-generic-64k", "generic-64k"),
        ("6.8.0-1021-aws", "aws"),
        ("6.14.0-1010-aws", "aws"),
        ("6.8.0-1019-nvidia-64k", "nvidia-64k"),
    ],
)
def test_ubuntu_has_signed_modules_for_each_kernel(kernel: str, flavour: str) -> None:
    wanted = f"linux-modules-nvidia-580-server-open-{flavour} nvidia-headless-no-dkms-580-server-open"
    assert names(UBUNTU, kernel) == f"{wanted} nvidia-utils-580-server"


@pytest.mark.parametrize(
    ("kernel", "headers"),
    [
        ("6.12.43+deb13-amd64", "linux-headers-6.12.43+deb13-amd64 linux-headers-amd64"),
        ("6.1.0-37-cloud-amd64", "linux-headers-6.1.0-37-cloud-amd64 linux-headers-cloud-amd64"),
        ("6.12.9+bpo-amd64", "linux-headers-6.12.9+bpo-amd64 linux-headers-amd64"),
        ("6.18.44-own", "linux-headers-6.18.44-own"),
    ],
)
def test_debian_builds_modules_with_the_headers_of_its_kernel(kernel: str, headers: str) -> None:
    assert names(DEBIAN, kernel) == f"{headers} nvidia-driver-cuda nvidia-kernel-open-dkms nvidia-persistenced"


OTHERS = {
    "rocky 9": (OS("rocky", "9.6", "", "Rocky Linux 9", "redhat"), "5.14.0-570.el9.x86_64", "rhel9/x86_64"),
    "fedora": (OS("fedora", "43", "", "Fedora 43", "redhat"), "6.17.1-300.fc43.x86_64", "fedora43/x86_64"),
    "amazon": (OS("amzn", "2023", "", "Amazon Linux 2023", "redhat"), "6.1.1.amzn2023.x86_64", "amzn2023/x86_64"),
    "leap 15.6": (OS("opensuse-leap", "15.6", "", "Leap", "suse"), "6.4.0-150600.23-default", "opensuse15/x86_64"),
    "leap 16": (OS("opensuse-leap", "16.0", "", "Leap", "suse"), "6.12.0-160000.5-default", "suse16/x86_64"),
    "sles 15": (OS("sles", "15.7", "", "SLES 15", "suse"), "6.4.0-150700.53-default", "sles15/x86_64"),
    "debian 12": (OS("debian", "12", "bookworm", "Debian 12", "debian"), "6.1.0-37-amd64", "debian12/x86_64"),
}


@pytest.mark.parametrize(("os", "kernel", "folder"), OTHERS.values(), ids=OTHERS.keys())
def test_each_distribution_has_its_folder_of_nvidias_repository(os: OS, kernel: str, folder: str) -> None:
    assert packages(replace(host("ada"), os=os, kernel=kernel), Need(True, 550)).folder == folder


def test_names_by_family() -> None:
    rocky, _, _ = OTHERS["rocky 9"]
    assert (
        names(*OTHERS["rocky 9"][:2]) == "kernel-devel-matched kernel-headers nvidia-driver-cuda kmod-nvidia-open-dkms"
    )
    suse, kernel, _ = OTHERS["leap 15.6"]
    assert names(suse, kernel) == "nvidia-open-driver-G06-signed-kmp-default nvidia-compute-utils-G06"
    assert names(suse, kernel, kinds=("pascal",)) == "nvidia-driver-G06-kmp-default nvidia-compute-utils-G06"
    arch = OS("arch", "", "", "Arch Linux", "arch")
    assert names(arch, "6.17.8-arch1-1") == "nvidia-open nvidia-utils"
    assert names(arch, "6.12.58-1-lts") == "linux-lts-headers nvidia-open-dkms nvidia-utils"
    for os in (rocky, arch):
        with pytest.raises(ValueError, match=r"Pascal at 0000:01:00\.0 needs .*: install .*it is kept"):
            names(os, "6.1", kinds=("pascal",))


def test_the_proprietary_flavour_is_another_package_of_the_same_branch() -> None:
    assert "nvidia-kernel-dkms" in names(DEBIAN, "6.12.43+deb13-amd64", kinds=("volta",)).split()
    assert names(UBUNTU, "6.8.0-45-generic", kinds=("volta",)) == (
        "linux-modules-nvidia-580-server-generic nvidia-headless-no-dkms-580-server nvidia-utils-580-server"
    )


def test_nvswitches_need_the_fabric_manager() -> None:
    found = packages(replace(host("hopper", "hopper", marks=frozenset({"nvswitch"})), os=UBUNTU), Need(True, 550))
    assert found.names[-2:] == ("nvidia-fabricmanager-580", "libnvidia-nscq-580")
    assert found.services == ("nvidia-persistenced", "nvidia-fabricmanager")


def test_a_servers_arm_has_a_folder_of_its_own() -> None:
    assert packages(replace(host("hopper"), arch="arm64"), Need(True, 550)).folder == "debian13/sbsa"
    leap, kernel, _ = OTHERS["leap 15.6"]
    arm = replace(host("hopper"), os=leap, kernel=kernel, arch="arm64")
    assert packages(arm, Need(True, 550)).folder == "sles15/sbsa"
    with pytest.raises(ValueError, match="Arch Linux ARM has no NVIDIA driver"):
        packages(replace(arm, os=OS("archarm", "", "", "Arch Linux ARM", "arch")), Need(True, 550))


def test_the_keys_of_nvidias_repositories() -> None:
    """A key's file is named by the end of its fingerprint."""
    for folder in ("debian12", "debian13", "rhel9", "rhel10", "fedora42", "fedora43", "fedora44", "sles15", "suse16"):
        file, fingerprint = repository_key(f"{folder}/x86_64")
        assert not fingerprint or (len(fingerprint) == 40 and fingerprint.endswith(file.removesuffix(".pub").upper()))
    assert repository_key("debian13/sbsa")[0] == "8793F200.pub"
    assert repository_key("rhel10/x86_64") == ("CDF6BA43.pub", "")
    assert repository_key("fedora99/x86_64") == ("", "")


def test_the_branch_of_a_version() -> None:
    assert [branch(text) for text in ("580.95.05", "", "12x", "535.183.01")] == [580, 0, 0, 535]
