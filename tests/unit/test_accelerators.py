"""Which archives, packages and libraries a host's GPUs need beside the base."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from provision.accelerators import archives, computing, libraries, vulkan
from provision.facts.model import GPU, Identity
from tests.unit.samples import DEBIAN, SERVER

MESA = ("mesa-vulkan-drivers", "libvulkan1")


def amd(*targets: str, driver: str = "amdgpu", kfd: bool = True) -> Identity:
    """A host with AMD GPUs of these targets."""
    gpus = tuple(GPU(f"0000:0{n}:00.0", "amd", "744c", driver, target=target) for n, target in enumerate(targets, 1))
    return replace(SERVER, gpus=gpus, amd_kfd=kfd)


def intel(*slots: str) -> Identity:
    """A host with Intel GPUs in these slots."""
    return replace(SERVER, gpus=tuple(GPU(slot, "intel", "56a0", "i915") for slot in slots))


NVIDIA = replace(
    SERVER, gpus=(GPU("0000:01:00.0", "nvidia", "2684", "nvidia"),), nvidia_driver="580.1", nvidia_smi="580.1"
)
JETSON = replace(SERVER, arch="arm64", gpus=(GPU("soc", "nvidia", "", "nvgpu"),), marks=frozenset({"jetson"}))


@pytest.mark.parametrize(
    ("identity", "environment", "further", "packages", "needed"),
    [
        (SERVER, {}, (), (), ()),
        (NVIDIA, {}, (), (), ("cuda_v",)),
        (amd("gfx942"), {}, ("rocm",), (), ("rocm",)),
        (amd("gfx1100"), {}, ("rocm",), (), ("rocm",)),
        (replace(amd("gfx1100"), arch="arm64"), {}, (), (), ()),
        (amd("gfx1100", kfd=False), {}, (), MESA, ("vulkan",)),
        # Not compiled for: by Vulkan, or as another one by the override.
        (amd("gfx1031"), {}, (), MESA, ("vulkan",)),
        (amd("gfx1031"), {"HSA_OVERRIDE_GFX_VERSION": "10.3.0"}, ("rocm",), (), ("rocm",)),
        (amd("gfx1031", "gfx1100"), {}, ("rocm",), MESA, ("rocm", "vulkan")),
        (amd("gfx1031"), {"OLLAMA_VULKAN": "0"}, (), (), ()),
        # Graphics of a processor are dropped by the server, but for gfx1151.
        (amd("gfx1036"), {}, (), (), ()),
        (amd("gfx1036"), {"OLLAMA_IGPU_ENABLE": "1"}, (), MESA, ("vulkan",)),
        (amd("gfx1151"), {}, ("rocm",), (), ("rocm",)),
        (amd("", driver="radeon", kfd=False), {}, (), (), ()),
        (intel("0000:00:02.0"), {}, (), (), ()),
        (intel("0000:00:02.0"), {"OLLAMA_IGPU_ENABLE": "true"}, (), MESA, ("vulkan",)),
        (intel("0000:00:02.0", "0000:03:00.0"), {}, (), MESA, ("vulkan",)),
        # Neither ROCm's nor Vulkan's libraries are there for arm64.
        (replace(amd("gfx1100", kfd=False), arch="arm64"), {}, (), (), ()),
        (replace(intel("0000:03:00.0"), arch="arm64"), {}, (), (), ()),
        (replace(JETSON, jetson="R35"), {}, ("jetpack5",), (), ("cuda_jetpack5",)),
        (replace(JETSON, jetson="R36"), {}, ("jetpack6",), (), ("cuda_jetpack6",)),
        (replace(JETSON, jetson="R38"), {}, (), (), ()),
        (replace(JETSON, jetson="R32"), {}, (), (), ()),
    ],
)
def test_what_a_gpu_needs(
    identity: Identity,
    environment: Mapping[str, str],
    further: tuple[str, ...],
    packages: tuple[str, ...],
    needed: tuple[str, ...],
) -> None:
    assert archives(identity, environment) == further
    assert vulkan(identity, environment) == packages
    assert libraries(identity, environment) == needed


WSL = replace(SERVER, gpus=(GPU("0000:01:00.0", "nvidia", "", ""),), nvidia_smi="576.02", marks=frozenset({"wsl"}))


@pytest.mark.parametrize(
    ("identity", "environment", "rocm", "found"),
    [
        (SERVER, {}, None, []),
        (NVIDIA, {}, None, ["cuda"]),
        (replace(NVIDIA, nvidia_smi=""), {}, None, []),
        (replace(NVIDIA, gpus=(GPU("0000:01:00.0", "nvidia", "2684", "vfio-pci"),)), {}, None, []),
        (WSL, {}, None, ["cuda"]),
        (replace(WSL, nvidia_smi=""), {}, None, []),
        (replace(JETSON, jetson="R36"), {}, None, ["cuda"]),
        (replace(JETSON, jetson="R32"), {}, None, []),
        (amd("gfx942"), {}, None, ["rocm"]),
        # What was left out on purpose is not demanded.
        (amd("gfx942"), {}, False, []),
        (amd("gfx1031"), {}, None, ["vulkan"]),
        (amd("gfx1031"), {"OLLAMA_VULKAN": "0"}, None, []),
        (amd("gfx1031", "gfx1100"), {}, None, ["rocm", "vulkan"]),
        (amd("gfx1036"), {}, None, []),
        (intel("0000:03:00.0"), {}, None, ["vulkan"]),
        (intel("0000:03:00.0"), {"OLLAMA_VULKAN": "0"}, None, []),
    ],
)
def test_what_a_model_must_be_on(
    identity: Identity, environment: Mapping[str, str], rocm: bool | None, found: list[str]
) -> None:
    assert [one.by for one in computing(identity, environment, rocm)] == found


def test_rocm_may_be_said() -> None:
    assert archives(amd("gfx1031"), {}, rocm=True) == ("rocm",)
    assert archives(amd("gfx942"), {}, rocm=False) == ()


@pytest.mark.parametrize(
    ("family", "package"), [("redhat", "vulkan-loader"), ("arch", "vulkan-intel"), ("suse", "libvulkan1")]
)
def test_each_family_has_its_packages(family: str, package: str) -> None:
    assert package in vulkan(replace(intel("0000:03:00.0"), os=replace(DEBIAN, family=family)), {})
