"""Judges of models: their files, what the server tells of derived ones, and why one is not on the GPU."""

import json
from pathlib import Path
from typing import Any

import pytest

from provision.models.modelfile import Modelfile
from provision.resources.base import Section
from provision.resources.derived_model import DerivedModel
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.values import sha256
from provision.verify.check import Check, judged
from provision.verify.checks import placement, show
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


GPU = """\
smi=NVIDIA GeForce RTX 3060, 12288, 900
user=/usr/bin/gnome-shell, 700
user=/opt/ollama/0.9.3/bin/ollama, 9000
env=OLLAMA_GPU_OVERHEAD=2147483648
env=OLLAMA_HOST=127.0.0.1:11434
ExecMainStartTimestampMonotonic=5200000
driver=[    9.412345] gpu01 kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15
log=time=x level=INFO msg="inference compute" id=0 library=cpu variant="" compute=""
"""
ENTRY = {"size": 14_000_000_000, "size_vram": 9_000_000_000}


def test_the_three_causes_are_told_with_what_the_host_says() -> None:
    assert placement.explain(ENTRY, {"num_gpu": 20}, placement.parse(GPU)) == (
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
        (GPU.replace("12288, 900", "12288, 11900"), "enough for the 5.0 GB"),
        (GPU.replace("5200000", "0"), "when is not known"),
        (GPU.replace("5200000", "95200000"), "it did not, but 86 s after it"),
        (GPU.replace("driver=", "x="), "when is not known"),
    ],
)
def test_what_the_host_does_not_say_is_told_too(seen: str, text: str) -> None:
    assert text in placement.explain(ENTRY, {}, placement.parse(seen))


def test_a_host_without_a_usable_gpu_is_not_asked_about_it() -> None:
    assert "nvidia-smi" not in Generation("tiny", SERVER).question()
    assert "nvidia-smi" in Generation("tiny", SERVER, gpu=True).question()
