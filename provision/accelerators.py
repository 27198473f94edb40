"""What Ollama computes with on a host's GPUs, from its identity alone: further archives, packages, library directories.

The base archive has the libraries of NVIDIA's GPUs and, on amd64, of Vulkan; those of ROCm (AMD, amd64 too) and of
JetPack (Jetson) come as archives of their own.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from provision.dataclass import dataclass
from provision.facts.model import GPU, Identity

# Targets that Ollama's ROCm libraries are compiled for (ollama: docs/gpu.mdx); others compute by Vulkan.
_ROCM = frozenset(f"gfx{number}" for number in "908 90a 942 950 1030 1100 1101 1102 1150 1151 1200 1201".split())
# Graphics inside processors; Ollama drops them, but for gfx1151, unless OLLAMA_IGPU_ENABLE says otherwise.
_INTEGRATED = frozenset(f"gfx{number}" for number in "902 909 90c 1013 1033 1035 1036 1037 1103 1150 1152 1153".split())
_INTEL_INTEGRATED = "0000:00:02.0"
"""Where the graphics of an Intel processor always are; Arc cards are elsewhere."""

_JETPACK = {"R35": "jetpack5", "R36": "jetpack6"}
"""By L4T release; JetPack 7 (R38) computes with the ordinary libraries."""

_COMPUTING_JETSONS = (*_JETPACK, "R38", "R39")

_VULKAN = {
    "debian": ("mesa-vulkan-drivers", "libvulkan1"),
    "redhat": ("mesa-vulkan-drivers", "vulkan-loader"),
    "suse": ("libvulkan_intel", "libvulkan_radeon", "libvulkan1"),
    "arch": ("vulkan-intel", "vulkan-radeon", "vulkan-icd-loader"),
}
Library = Literal["cuda", "rocm", "vulkan"]
VULKAN_DRIVERS = "/usr/share/vulkan/icd.d"
"""Where Vulkan looks for drivers: a server that started before one came does not know it."""


@dataclass(frozen=True)
class Computing:
    """A GPU that Ollama computes on, and by what."""

    gpu: GPU
    by: Library


def computing(identity: Identity, environment: Mapping[str, str], rocm: bool | None = None) -> tuple[Computing, ...]:
    """The GPUs on which models must be, with the arguments of `archives`; not those that a setting leaves out."""
    found = [Computing(gpu, "cuda") for gpu in identity.gpus if _by_cuda(gpu, identity)]
    if rocm is not False:
        found += [Computing(gpu, "rocm") for gpu in identity.gpus if _by_rocm(gpu, identity, environment)]
    if vulkan(identity, environment):
        found += [Computing(gpu, "vulkan") for gpu in identity.gpus if _by_vulkan(gpu, identity, environment)]
    return tuple(found)


def by_device_files(gpus: Iterable[Computing]) -> tuple[Library, ...]:
    """Those of the libraries that open `/dev/kfd` and `/dev/dri/renderD*`, which belong to groups."""
    return tuple(dict.fromkeys(one.by for one in gpus if one.by != "cuda"))


def has_code(target: str) -> bool:
    """Whether Ollama's ROCm libraries are compiled for a target."""
    return target in _ROCM


def archives(identity: Identity, environment: Mapping[str, str], rocm: bool | None = None) -> tuple[str, ...]:
    """Names of the further archives (`rocm`, `jetpack6`) beside the base.

    Args:
        identity: of the host.
        environment: the server's variables.
        rocm: whether AMD's libraries are wanted; None: where they have code for a GPU.
    """
    found = []
    wanted = any(_by_rocm(gpu, identity, environment) for gpu in identity.gpus) if rocm is None else rocm
    if wanted and identity.arch == "amd64":
        found.append("rocm")
    if identity.arch == "arm64" and (jetpack := _JETPACK.get(identity.jetson)):
        found.append(jetpack)
    return tuple(found)


def vulkan(identity: Identity, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Packages with Vulkan's drivers, where a GPU computes by it; else none."""
    if identity.arch != "amd64" or environment.get("OLLAMA_VULKAN", "1").strip("\"'").lower() in ("0", "f", "false"):
        return ()
    if not any(_by_vulkan(gpu, identity, environment) for gpu in identity.gpus):
        return ()
    return _VULKAN.get(identity.os.family, ())


def libraries(identity: Identity, environment: Mapping[str, str], rocm: bool | None = None) -> tuple[str, ...]:
    """Beginnings of the directories of `lib/ollama` without which a GPU of this host would not be used."""
    further = {"rocm": "rocm", "jetpack5": "cuda_jetpack5", "jetpack6": "cuda_jetpack6"}
    found = [further[name] for name in archives(identity, environment, rocm)]
    if not identity.jetson and any(_by_cuda(gpu, identity) for gpu in identity.gpus):
        found.append("cuda_v")
    if vulkan(identity, environment):
        found.append("vulkan")
    return tuple(found)


def _by_cuda(gpu: GPU, identity: Identity) -> bool:
    """A Jetson's and WSL's GPUs have no module that tells its version."""
    if gpu.vendor != "nvidia" or gpu.driver == "vfio-pci":
        return False
    if gpu.slot == "soc":
        return identity.jetson in _COMPUTING_JETSONS
    return identity.nvidia_usable or ("wsl" in identity.marks and bool(identity.nvidia_smi))


def _by_rocm(gpu: GPU, identity: Identity, environment: Mapping[str, str]) -> bool:
    if gpu.vendor != "amd" or gpu.driver != "amdgpu" or not identity.amd_kfd or not gpu.target:
        return False
    if gpu.target in _INTEGRATED and not _integrated(environment):
        return False
    return gpu.target in _ROCM or any(name.startswith("HSA_OVERRIDE_GFX_VERSION") for name in environment)


def _by_vulkan(gpu: GPU, identity: Identity, environment: Mapping[str, str]) -> bool:
    if gpu.vendor == "intel" and gpu.driver in ("i915", "xe"):
        return gpu.slot != _INTEL_INTEGRATED or _integrated(environment)
    if gpu.vendor == "amd" and gpu.driver == "amdgpu" and not _by_rocm(gpu, identity, environment):
        return gpu.target not in _INTEGRATED or _integrated(environment)
    return False


def _integrated(environment: Mapping[str, str]) -> bool:
    return environment.get("OLLAMA_IGPU_ENABLE", "").lower() in ("1", "t", "true")
