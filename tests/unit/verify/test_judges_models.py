"""Judges of models: their files, what the server tells of derived ones, and why one is not on the GPU."""

import json
from pathlib import Path
from typing import Any

import pytest

from provision.accelerators import Computing
from provision.facts.model import GPU
from provision.models.modelfile import Modelfile
from provision.resources.base import Section
from provision.resources.derived_model import DerivedModel
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.values import sha256
from provision.verify.check import Check, judged
from provision.verify.checks import placement, show
from provision.verify.checks.devices import Devices
from provision.verify.checks.generation import Generation
from provision.verify.checks.ollama import Derived, Models

SERVER = Server()
GGUF = Path(__file__).parents[1] / "resources" / "cases" / "ollama_model" / "tiny.gguf"
WEIGHTS = f"sha256:{sha256(GGUF.read_bytes())}"
MODELFILE = Modelfile(
    ("tiny",), system="You help.", parameters={"num_ctx": 512, "temperature": 0.7, "stop": ["a", "b"]}
)
ASSISTANT = DerivedModel("assistant", MODELFILE)
MODELS = Models((OllamaModel("tiny", gguf=GGUF), ASSISTANT), SERVER)
PINNED = Models((OllamaModel("tiny", digest="aabbccddeeff"),), SERVER)
DERIVED = Derived((ASSISTANT,), SERVER)


def stored(
    weights: str = WEIGHTS,
    sizes: tuple[tuple[str, int], ...] | None = None,
    listed: tuple[str, ...] = ("tiny:latest", "assistant:latest"),
    told: str = "d1",
    manifest: bool = True,
) -> str:
    """What the question of models prints."""
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": weights, "size": 9}]
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:c0", "size": 5}
    text = json.dumps({"config": config, "layers": layers})
    tags = json.dumps({"models": [{"name": name, "digest": told} for name in listed]})
    there = "".join(f"layer {digest} {size}\n" for digest, size in sizes or ((weights, 9), ("sha256:c0", 5)))
    body = f"sha256 d1\nmanifest {text}\n{there}" if manifest else ""
    return f"{tags}\nmodel a/tiny\n{body}model a/assistant\n{body}end\n"


def one(**options: Any) -> str:
    """The same for one model."""
    return stored(**options).partition("model a/assistant")[0] + "end\n"


def shown(parameters: str | None = None, system: str = "You help.", **more: Any) -> str:
    """What `/api/show` says, as server 0.9.3 writes parameters."""
    lines = 'stop                           "a"\nstop                           "b"\n'
    lines += "num_ctx                        512\ntemperature                    0.7"
    return json.dumps({"parameters": lines if parameters is None else parameters, "system": system, **more}) + "\n"


PASSES = [
    (MODELS, stored()),
    (PINNED, one(weights="sha256:aabbccddeeff00")),
    (DERIVED, shown()),
]

FAILS = [
    (MODELS, stored(listed=("tiny:latest",)), "missing: assistant"),
    (MODELS, stored(manifest=False), "tiny: the server lists it, but it has no manifest"),
    (MODELS, stored(told="d2"), "tiny: the server tells the digest d2, its manifest has d1"),
    (MODELS, stored(weights="sha256:bb"), "tiny: it was made from another file than tiny.gguf"),
    (MODELS, stored(sizes=(("sha256:c0", 5),)), f"tiny: its layer {WEIGHTS[7:19]} (model) is not there"),
    (MODELS, stored(sizes=((WEIGHTS, 8), ("sha256:c0", 5))), "(model) has 8 bytes, not 9"),
    (MODELS, stored(sizes=((WEIGHTS, 9),)), "its layer c0 (v1+json) is not there"),
    (MODELS, stored().removesuffix("end\n"), "cannot be asked"),
    (MODELS, '{"models":null}\nend\n', "cannot be asked"),
    (MODELS, "", "cannot be asked"),
    (PINNED, one(), "it has the digest d1, aabbccddeeff is declared"),
    (DERIVED, shown(system="You rule."), "assistant: it has another SYSTEM than declared"),
    (DERIVED, shown(parameters='num_ctx   1024\ntemperature 0.7\nstop "a"\nstop "b"'), "num_ctx is 1024, 512 is"),
    (DERIVED, shown(parameters='num_ctx 512\nstop "a"\nstop "b"'), "temperature is not set, 0.7 is declared"),
    (DERIVED, shown(parameters='num_ctx 512\ntemperature 0.7\nstop "b"'), "stop is ['b'], ['a', 'b'] is declared"),
    (DERIVED, shown().replace('"system"', '"x"'), "another SYSTEM"),
    (DERIVED, '{"error":"model not found"}\n', "num_ctx is not set"),
    (DERIVED, "", "cannot be asked"),
    (
        Derived((DerivedModel("t", Modelfile(("tiny",), template="{{ .Prompt }}")),), SERVER),
        shown(template="x"),
        "another TEMPLATE",
    ),
    (
        Derived((DerivedModel("t", Modelfile(("tiny",), messages=(("user", "hi"),))),), SERVER),
        shown(messages=[{"role": "user", "content": "bye"}]),
        "other MESSAGEs",
    ),
]


@pytest.mark.parametrize(("check", "out"), PASSES)
def test_what_is_as_declared_passes(check: Check, out: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("check", "out", "cause"), FAILS)
def test_what_is_wrong_fails_with_its_cause(check: Check, out: str, cause: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "failed"
    assert cause in verdict.message


def test_parameters_are_read_as_go_writes_them() -> None:
    text = 'stop "<|\\x3eend"\nnum_ctx   1.048576e+06\nuse_mmap false\n'
    assert show.parameters(text) == {"stop": ["<|\\x3eend"], "num_ctx": 1048576.0, "use_mmap": False}


NVIDIA = """\
smi=NVIDIA GeForce RTX 3060, 12288, 900
user=/usr/bin/gnome-shell, 700
user=/opt/ollama/0.9.3/bin/ollama, 9000
env=OLLAMA_GPU_OVERHEAD=2147483648
env=OLLAMA_HOST=127.0.0.1:11434
ExecMainStartTimestampMonotonic=5200000
driver=[    9.412345] gpu01 kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15
log=time=x level=INFO msg="inference compute" id=0 library=cpu variant="" compute=""
"""
CUDA = (Computing(GPU("0000:01:00.0", "nvidia", "2504", "nvidia"), "cuda"),)
VULKAN = (Computing(GPU("0000:03:00.0", "intel", "56a0", "xe"), "vulkan"),)


def amd(target: str) -> tuple[Computing, ...]:
    """A card of AMD's."""
    return (Computing(GPU("0000:03:00.0", "amd", "744c", "amdgpu", "AMD Radeon RX 7900 XTX", target=target), "rocm"),)


ROCM = amd("gfx1100")
ENTRY = {"size": 14_000_000_000, "size_vram": 9_000_000_000}


def test_the_three_causes_are_told_with_what_the_host_says() -> None:
    assert placement.explain(ENTRY, {"num_gpu": 20}, placement.parse(NVIDIA), CUDA) == (
        "5.0 GB of 14.0 GB are on the CPU although the GPU is usable; likeliest causes: "
        "(1) it is too large for the GPU's free memory: free are NVIDIA GeForce RTX 3060 900 of 12288 MiB, "
        "less than the 5.0 GB, /usr/bin/gnome-shell holds 700 MiB, "
        "(2) a setting limits it: num_gpu 20, OLLAMA_GPU_OVERHEAD=2147483648, "
        "(3) the server started before the driver: it did, 4 s before: restart it; at its start it found cpu"
    )


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        ("smi=NVIDIA-SMI has failed because it could not communicate", "nvidia-smi says NVIDIA-SMI has failed"),
        ("", "nvidia-smi says nothing"),
        ("", "the server's process cannot be read"),
        ("env=OLLAMA_HOST=x", "neither num_gpu nor OLLAMA_GPU_OVERHEAD is set"),
        (NVIDIA.replace("12288, 900", "12288, 11900"), "enough for the 5.0 GB"),
        (NVIDIA.replace("5200000", "0"), "when is not known"),
        (NVIDIA.replace("5200000", "95200000"), "it did not, but 86 s after it"),
        (NVIDIA.replace("driver=", "x="), "when is not known"),
    ],
)
def test_what_the_host_does_not_say_is_told_too(seen: str, text: str) -> None:
    assert text in placement.explain(ENTRY, {}, placement.parse(seen), CUDA)


def test_a_host_without_a_usable_gpu_is_not_asked_about_it() -> None:
    assert "nvidia-smi" not in Generation("tiny", SERVER).question()
    assert "nvidia-smi" in Generation("tiny", SERVER, CUDA).question()
    assert "/dev/kfd" not in Generation("tiny", SERVER, CUDA).question()
    for gpus in (ROCM, VULKAN):
        assert "nvidia-smi" not in Generation("tiny", SERVER, gpus).question()
        assert "/dev/kfd" in Generation("tiny", SERVER, gpus).question()


AMD = """\
process=990\t990\t990\t990
process=44 990 993
node=/dev/kfd 660 993 render
node=/dev/dri/renderD128 660 993 render
libraries=cuda_v12 rocm_v7_2 vulkan
drivers=
vram=25753026560 1073741824
env=OLLAMA_HOST=127.0.0.1:11434
log=time=x level=INFO msg="inference compute" id=0 library=cpu variant="" compute=""
"""
# Where nothing speaks for a cause, what is looked at first comes first.
PLAIN_AMD = (
    "5.0 GB of 14.0 GB are on the CPU although the GPU is usable (AMD Radeon RX 7900 XTX, by ROCm); likeliest causes: "
    "(1) the GPU's device files: its process may open /dev/kfd, /dev/dri/renderD128, "
    "(2) the release's libraries: lib/ollama has rocm_v7_2, "
    "(3) the GPU's target: gfx1100; at its start it found cpu"
)
INTEL = """\
process=44 990 993
node=/dev/dri/renderD128 660 993 render
libraries=vulkan
drivers=intel_icd.x86_64.json
env=OLLAMA_HOST=127.0.0.1:11434
"""


def test_amd_s_and_intel_s_gpus_have_causes_of_their_own() -> None:
    assert placement.explain(ENTRY, {}, placement.parse(AMD), ROCM) == PLAIN_AMD
    assert placement.explain(ENTRY, {}, placement.parse(INTEL), VULKAN) == (
        "5.0 GB of 14.0 GB are on the CPU although the GPU is usable (intel 56a0, by Vulkan); likeliest causes: "
        "(1) the GPU's device files: its process may open /dev/dri/renderD128, "
        "(2) Vulkan's drivers in /usr/share/vulkan/icd.d: intel_icd.x86_64.json, "
        "(3) the release's libraries: lib/ollama has vulkan"
    )


@pytest.mark.parametrize(
    ("gpus", "seen", "text"),
    [
        (
            "gfx1100",
            AMD.replace("44 990 993", "44 990"),
            "may not open /dev/kfd, of the group 993 (render) with mode 0",
        ),
        ("gfx1100", AMD.replace("993 render", "104 UNKNOWN"), "of the group 104 (without a name)"),
        ("gfx1100", AMD.replace("node=/dev/kfd", "x"), "the GPU's device files: there is no /dev/kfd"),
        ("gfx1100", AMD.replace("process", "x"), "there is no process of ollama.service"),
        ("gfx1100", AMD.replace("rocm_v7_2 ", ""), "no rocm* (the -rocm archive), but cuda_v12, vulkan"),
        ("gfx1031", AMD, "no code for gfx1031; HSA_OVERRIDE_GFX_VERSION is not set"),
        ("gfx1031", AMD + "env=HSA_OVERRIDE_GFX_VERSION=10.3.0\n", "HSA_OVERRIDE_GFX_VERSION=10.3.0 pretends another"),
        ("gfx1100", AMD + "env=HSA_OVERRIDE_GFX_VERSION=10.3.0\n", "=10.3.0 pretends another one than gfx1100"),
        ("gfx1100", AMD + "env=ROCR_VISIBLE_DEVICES=7\n", "a setting limits it: ROCR_VISIBLE_DEVICES=7"),
        ("gfx1100", AMD.replace("1073741824", "25753026559"), "card 0 0 of 24560 MiB, less than the 5.0 GB"),
        ("", INTEL.replace("intel_icd.x86_64.json", ""), "/usr/share/vulkan/icd.d: there is none"),
        ("", INTEL.replace("libraries=vulkan", "libraries="), "lib/ollama has no vulkan*, but none at all"),
        ("", INTEL + "env=OLLAMA_VULKAN=0\n", "a setting limits it: OLLAMA_VULKAN=0"),
        ("", INTEL.replace("44 990 993", "44"), "may not open /dev/dri/renderD128"),
    ],
)
def test_a_cause_that_is_found_comes_first(gpus: str, seen: str, text: str) -> None:
    of = amd(gpus) if gpus else VULKAN
    (first,) = placement.explain(ENTRY, {}, placement.parse(seen), of).partition("(1) ")[2].split(", (2) ")[:1]
    assert text in first


def test_variables_that_keep_nothing_off_are_no_cause() -> None:
    seen = placement.parse(INTEL + "env=OLLAMA_VULKAN=1\nenv=OLLAMA_IGPU_ENABLE=true\n")
    assert "OLLAMA_VULKAN=" not in placement.explain(ENTRY, {}, seen, VULKAN)


RENDER = "node=/dev/dri/renderD128 660 993 render\n"


@pytest.mark.parametrize(
    ("libraries", "out", "cause"),
    [
        (("rocm",), AMD, ""),
        (("vulkan",), INTEL, ""),
        (("vulkan",), "process=5\n" + RENDER.replace("660", "666"), ""),
        # Another device's file is nothing to Vulkan.
        (("vulkan",), "process=993\nnode=/dev/kfd 600 0 root\n" + RENDER, ""),
        (("rocm",), "process=993\nnode=/dev/kfd 600 0 root\n" + RENDER, "may not open /dev/kfd"),
        (("rocm",), "process=993\n" + RENDER, "there is no /dev/kfd"),
        (("vulkan",), "process=993\n", "there is no /dev/dri/renderD*"),
        (("vulkan",), RENDER, "there is no process"),
        (("vulkan",), "process=5\n" + RENDER, "of the group 993 (render) with mode 0660: it is in the groups 5"),
        (("vulkan",), "process=993\n" + RENDER.replace("660", "640"), "with mode 0640"),
    ],
)
def test_the_process_may_open_the_gpu_s_files(libraries: tuple[str, ...], out: str, cause: str) -> None:
    verdict = judged(Devices(libraries), Section(0, out.encode()))
    assert verdict.status == ("failed" if cause else "passed")
    assert cause in verdict.message
