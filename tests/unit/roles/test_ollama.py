"""What the role ollama declares: the unit's text, the variables of the server, where its archive comes from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from provision.facts.model import GPU
from provision.resources.base import Resource
from provision.resources.endpoint import Endpoint
from provision.resources.file import File
from provision.resources.firewall import Firewall, Guarded
from provision.resources.host_firewall import Allow, HostFirewall
from provision.resources.models_directory import ModelsDirectory
from provision.resources.package import Package
from provision.resources.release import Release
from provision.resources.service import Service
from provision.resources.user import Group, User
from provision.roles import load_role
from provision.templates import builtin
from provision.values import sha256
from provision.view import HostView, Peer
from tests.unit.samples import SERVER, one

ROLE: Any = load_role("ollama")
GROUPS = {"video": 44, "render": 993}
NAME = "ollama-linux-amd64.tar.zst"


def declare(
    artifacts: Path | None = None,
    groups: Mapping[str, int] = GROUPS,
    gpus: tuple[GPU, ...] = (),
    facts: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Resource]:
    """What is declared with these settings."""
    identity = replace(SERVER, groups=groups)
    identity = replace(identity, gpus=gpus, amd_kfd=True, **(facts or {}))
    peers = {"web": (Peer("chat", "10.0.0.2"), Peer("gpu", "10.0.0.11"))}
    view = HostView(
        "gpu", identity, ("ollama",), {}, {}, builtin().render, lambda name: None, peers.__getitem__, artifacts
    )
    return list(ROLE.declare(view, ROLE.Settings.model_validate(settings)))


def text(path: str, resources: list[Resource]) -> list[str]:
    """The lines of a declared file."""
    (found,) = (resource for resource in resources if isinstance(resource, File) and resource.path == path)
    assert isinstance(found.content, str)
    return found.content.splitlines()


def values(key: str, lines: list[str]) -> list[str]:
    """All values of a key of a unit."""
    return [line.removeprefix(f"{key}=") for line in lines if line.startswith(f"{key}=")]


def test_an_amd_gpu_brings_its_libraries_from_where_the_base_comes(tmp_path: Path) -> None:
    card = GPU("0000:01:00.0", "amd", "744c", "amdgpu", target="gfx1100")
    release = one(Release, declare(gpus=(card,), mirror="http://m.lan/o"))
    (rocm,) = release.further
    assert rocm.archive == ("http://m.lan/o/v0.32.15/ollama-linux-amd64-rocm.tar.zst",)
    assert text(ROLE.DROP_IN, declare(gpus=(card,))) != text(ROLE.DROP_IN, declare())
    folder = tmp_path / "v0.32.15"
    folder.mkdir()
    for name in (NAME, "ollama-linux-amd64-rocm.tar.zst"):
        (folder / name).write_text(name)
    sums = "".join(f"{sha256(name)}  ./{name}\n" for name in (NAME, "ollama-linux-amd64-rocm.tar.zst"))
    (folder / "sha256sum.txt").write_text(sums)
    (rocm,) = one(Release, declare(tmp_path, gpus=(card,))).further
    assert (rocm.archive, rocm.sha256) == (
        folder / "ollama-linux-amd64-rocm.tar.zst",
        sha256("ollama-linux-amd64-rocm.tar.zst"),
    )


def test_an_arc_card_brings_vulkan_and_a_server_that_may_read_its_memory() -> None:
    resources = declare(gpus=(GPU("0000:03:00.0", "intel", "56a0", "xe"),))
    (service,) = (resource for resource in resources if isinstance(resource, Service))
    package = one(Package, resources)
    assert package in service.restart_on
    assert "/usr/share/vulkan/icd.d" in service.files
    lines = text(ROLE.UNIT, resources)
    assert values("CapabilityBoundingSet", lines) == values("AmbientCapabilities", lines) == ["CAP_PERFMON"]
    assert values("CapabilityBoundingSet", text(ROLE.UNIT, declare())) == [""]
    assert values("AmbientCapabilities", text(ROLE.UNIT, declare())) == []


def test_the_unit_closes_all_devices_but_those_of_gpus() -> None:
    lines = text(ROLE.UNIT, declare())
    assert values("DevicePolicy", lines) == ["closed"]
    allowed = values("DeviceAllow", lines)
    nvidia = {"char-nvidia", "char-nvidiactl", "char-nvidia-frontend", "char-nvidia-uvm", "char-nvidia-caps"}
    assert set(allowed) == nvidia | {"char-drm", "char-kfd", "/dev/dxg"}
    assert values("PrivateDevices", lines) == []


@pytest.mark.parametrize(
    ("folder", "homes"), [(ROLE.MODELS, "yes"), ("/srv/models", "yes"), ("/home/models", "no"), ("/root/m", "no")]
)
def test_the_unit_writes_only_to_its_home_and_to_the_models(folder: str, homes: str) -> None:
    resources = declare(models_dir=folder)
    lines = text(ROLE.UNIT, resources)
    assert values("ProtectSystem", lines) == ["strict"]
    assert values("ReadWritePaths", lines) == [f"{ROLE.HOME} {folder}"]
    assert values("ProtectHome", lines) == [homes]
    assert one(ModelsDirectory, resources).path == folder
    assert f'"OLLAMA_MODELS={folder}"' in " ".join(text(ROLE.DROP_IN, resources))


@pytest.mark.parametrize(("groups", "expected"), [(GROUPS, ["render video"]), ({"video": 44}, ["video"]), ({}, [])])
def test_only_groups_that_exist_are_named(groups: dict[str, int], expected: list[str]) -> None:
    """systemd does not start a unit with an unknown group."""
    resources = declare(groups=groups)
    assert values("SupplementaryGroups", text(ROLE.UNIT, resources)) == expected
    assert " ".join(one(User, resources).groups) == "".join(expected)


RX_7900 = GPU("0000:01:00.0", "amd", "744c", "amdgpu", target="gfx1100")


@pytest.mark.parametrize(
    ("gpus", "owners", "groups", "line", "made"),
    [
        ((RX_7900,), (44, 993), GROUPS, "render video", []),
        # The number of the host that a container runs on: it has another name here, or none.
        ((RX_7900,), (104,), {**GROUPS, "input": 104}, "render video 104", []),
        ((RX_7900,), (104,), GROUPS, "render video 104", [Group("gpu104", 104)]),
        # Made by an earlier run, it stays declared.
        ((RX_7900,), (104,), {**GROUPS, "gpu104": 104}, "render video 104", [Group("gpu104", 104)]),
        ((RX_7900,), (104, 109), {"video": 104}, "video 109", [Group("gpu109", 109)]),
        # A display that nothing computes on.
        ((GPU("0000:00:02.0", "intel", "4680", "i915"),), (104,), GROUPS, "render video", []),
        ((), (104,), GROUPS, "render video", []),
    ],
)
def test_groups_of_the_gpu_s_device_files_count_by_number(
    gpus: tuple[GPU, ...], owners: tuple[int, ...], groups: Mapping[str, int], line: str, made: list[Group]
) -> None:
    resources = declare(groups=groups, gpus=gpus, facts={"gpu_groups": owners})
    assert values("SupplementaryGroups", text(ROLE.UNIT, resources)) == [line]
    assert [resource for resource in resources if isinstance(resource, Group)] == made


def test_a_jetson_s_devices_are_not_closed_for_they_have_many_names() -> None:
    facts = {"marks": frozenset({"jetson"}), "jetson": "R36", "arch": "arm64"}
    lines = text(ROLE.UNIT, declare(gpus=(GPU("soc", "nvidia", "", "nvgpu"),), facts=facts))
    assert values("DevicePolicy", lines) == ["auto"]
    assert values("DeviceAllow", lines) == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OLLAMA_KEEP_ALIFE": "30m"}, "does not read OLLAMA_KEEP_ALIFE; did you mean 'OLLAMA_KEEP_ALIVE'"),
        ({"CUDA_VISIBLE_DEVICE": "0"}, "did you mean 'CUDA_VISIBLE_DEVICES'"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "OLLAMA_HOST is set by listen and port"),
        ({"OLLAMA_MODELS": "/srv"}, "OLLAMA_MODELS is set by models_dir"),
        ({"OLLAMA_MAX_VRAM": "1"}, "no longer reads OLLAMA_MAX_VRAM"),
        ({"OLLAMA_ORIGINS": "a\nEnvironment=b"}, "OLLAMA_ORIGINS has more than one line"),
    ],
)
def test_a_variable_that_has_no_effect_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ROLE.Settings.model_validate({"environment": environment})


def test_a_changed_variable_is_another_drop_in_and_the_same_unit() -> None:
    first, second = declare(), declare(environment={"HSA_OVERRIDE_GFX_VERSION_0": "11.0.0"})
    assert text(ROLE.UNIT, first) == text(ROLE.UNIT, second)
    assert 'Environment="HSA_OVERRIDE_GFX_VERSION_0=11.0.0"' in text(ROLE.DROP_IN, second)
    assert text(ROLE.DROP_IN, first) != text(ROLE.DROP_IN, second)


def artifact(folder: Path, name: str) -> Path:
    """An archive among the artefacts, and its digest beside it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"archive")
    with (path.parent / "sha256sum.txt").open("a") as sums:
        sums.write(f"{sha256(b'archive')}  ./{path.name}\n")
    return path


def test_the_archive_comes_from_the_artifacts_else_the_mirror_else_the_official_place(tmp_path: Path) -> None:
    mirror, version = "http://mirror.office.lan/ollama/", "0.32.15"
    official = f"https://github.com/ollama/ollama/releases/download/v{version}/{NAME}"
    mirrored = f"http://mirror.office.lan/ollama/v{version}/{NAME}"

    def source(**settings: Any) -> Path | tuple[str, ...]:
        return one(Release, declare(version=version, **settings)).archive

    assert source() == (official,)
    assert source(mirror=mirror) == (mirrored,)
    # An artefacts' directory without it: the mirror, and never the internet.
    assert source(mirror=mirror, artifacts=tmp_path) == (mirrored,)
    assert source(artifacts=tmp_path) == (official,)
    assert one(Release, declare(version=version, artifacts=tmp_path)).not_in == tmp_path
    assert one(Release, declare(version=version)).not_in is None
    flat = artifact(tmp_path, f"ollama-linux-amd64-{version}.tar.zst")
    assert source(mirror=mirror, artifacts=tmp_path) == flat
    nested = artifact(tmp_path, f"v{version}/{NAME}")
    assert source(mirror=mirror, artifacts=tmp_path) == nested
    assert one(Release, declare(version=version, artifacts=tmp_path)).not_in is None


@pytest.mark.parametrize(("version", "suffix"), [("0.18.0", ".tar.zst"), ("0.13.5", ".tgz")])
def test_the_archive_s_suffix_follows_the_version(version: str, suffix: str) -> None:
    release = one(Release, declare(version=version, allow_vulnerable=True))
    assert release.file_name == f"ollama-linux-amd64{suffix}"


def test_the_digest_is_the_declared_one_else_that_beside_the_archive(tmp_path: Path) -> None:
    beside, said = "a" * 64, "B" * 64
    folder = artifact(tmp_path, f"v0.32.15/{NAME}").parent
    (folder / "sha256sum.txt").write_text(f"{'c' * 64}  ./ollama-linux-arm64.tar.zst\n{beside}  ./{NAME}\n")
    assert one(Release, declare(artifacts=tmp_path, version="0.32.15")).sha256 == beside
    declared = declare(artifacts=tmp_path, version="0.32.15", sha256={NAME: said})
    assert one(Release, declared).sha256 == said.lower()


def test_an_archive_with_its_version_in_its_name_is_listed_by_that_name_or_by_the_release_s(tmp_path: Path) -> None:
    flat = artifact(tmp_path, "ollama-linux-amd64-0.32.15.tar.zst")
    sums = flat.with_name("sha256sum.txt")
    sums.write_text(f"{'a' * 64}  ./{NAME}\n")
    assert one(Release, declare(artifacts=tmp_path, version="0.32.15")).sha256 == "a" * 64
    sums.write_text(f"{'a' * 64}  ./{NAME}\n{'b' * 64} *{flat.name}\n")
    assert one(Release, declare(artifacts=tmp_path, version="0.32.15")).sha256 == "b" * 64
    sums.unlink()
    declared = declare(artifacts=tmp_path, version="0.32.15", sha256={NAME: "c" * 64})
    assert one(Release, declared).sha256 == "c" * 64


@pytest.mark.parametrize(
    ("sums", "why"),
    [
        (None, "there is no sha256sum.txt beside it"),
        (f"{'a' * 64}  ./ollama-linux-arm64.tar.zst\n", "sha256sum.txt does not list it"),
        (f"12  ./{NAME}\n", "sha256sum.txt does not list it"),
    ],
)
def test_an_archive_that_nothing_vouches_for_is_refused(tmp_path: Path, sums: str | None, why: str) -> None:
    beside = artifact(tmp_path, f"v0.32.15/{NAME}").with_name("sha256sum.txt")
    beside.unlink()
    if sums is not None:
        beside.write_text(sums)
    with pytest.raises(
        ValueError, match=rf"{why}; put the release's list there, or say ollama.sha256: {{{NAME}: DIGEST}}"
    ):
        declare(artifacts=tmp_path, version="0.32.15")


def test_a_digest_is_64_hexadecimal_digits() -> None:
    with pytest.raises(ValidationError, match="sha256"):
        ROLE.Settings.model_validate({"sha256": {NAME: "12"}})


def test_an_old_server_is_refused_unless_it_is_said() -> None:
    with pytest.raises(ValueError, match="CVE-2026-7482"):
        declare(version="0.17.0")
    assert one(Endpoint, declare(version="0.17.0", allow_vulnerable=True)).expect == {"version": "0.17.0"}


def test_a_server_of_the_lan_is_guarded_and_does_not_name_itself() -> None:
    assert not [resource for resource in declare() if isinstance(resource, Firewall)]
    resources = declare(listen="lan", allow=["web"], allow_networks=["10.1.0.0/16"])
    assert one(Firewall, resources).ports == (Guarded(11434, ("10.0.0.2", "10.1.0.0/16")),)
    assert one(HostFirewall, resources).allowed == (Allow(11434, ("10.0.0.2", "10.1.0.0/16")),)
    assert one(HostFirewall, declare()).allowed == one(HostFirewall, declare(listen="lan")).allowed == ()
    assert "OLLAMA_HOST=0.0.0.0:11434" in " ".join(text(ROLE.DROP_IN, resources))
