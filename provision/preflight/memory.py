"""Whether a model fits a host: its weights, its context and its buffers against the memory of GPUs and CPU.

The numbers are the ones that Ollama's scheduler works with (facts: need = weights + KV cache + buffers); where one is
not known it is estimated, and the verdict says so.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provision.dataclass import dataclass
from provision.facts.model import GPU, Identity
from provision.models.names import DEFAULT_NAMESPACE, ModelName
from provision.preflight.finding import Finding, Level
from provision.values import human_bytes

GIB = 1 << 30
RESERVE = GIB
"""Bytes of a host's memory that its system and its services keep."""

KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of one value of the KV cache by OLLAMA_KV_CACHE_TYPE (ggml: blocks of 32 values with a 16-bit scale)."""

_PER_PARAMETER = 0.6
"""Bytes of a weight in Q4_K_M, what a tag without a quantisation is in Ollama's library."""

_BANDWIDTH = (("Raspberry Pi 5", 9e9), ("Raspberry Pi 4", 4e9), ("Raspberry Pi", 2e9))
"""Bytes per second that a board's memory delivers to its CPU; every token reads all active weights once."""


@dataclass(frozen=True)
class Shape:
    """What decides how much memory a token of context takes.

    Args:
        layers: attention layers.
        kv_heads: key and value heads of a layer.
        head_dim: values of a head.
        windowed: how many of the layers remember only `window` tokens.
        window: their tokens.
        context: tokens that the model was trained for, 0 when not known.
        active: share of the weights that one token reads: less than 1 in mixtures of experts.
    """

    layers: int
    kv_heads: int
    head_dim: int
    windowed: int = 0
    window: int = 0
    context: int = 0
    active: float = 1.0

    def cache(self, tokens: int, bytes_per_value: float) -> int:
        """Bytes of the KV cache for one sequence of `tokens`."""
        full = (self.layers - self.windowed) * tokens + self.windowed * min(tokens, self.window)
        return int(full * 2 * self.kv_heads * self.head_dim * bytes_per_value)


@dataclass(frozen=True)
class Weights:
    """A model as far as it is known before it runs. `size` in bytes; `source` says where the numbers come from."""

    size: int
    source: str
    shape: Shape | None = None


@dataclass(frozen=True)
class Serving:
    """How the server will load it: context in tokens (None: by the GPUs' memory), sequences at a time, cache type."""

    context: int | None = None
    parallel: int = 1
    cache: str = "f16"
    overhead: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str], context: int | None = None) -> "Serving":
        """From the server's variables, and the model's own `num_ctx`."""
        return cls(
            context or _whole(environment.get("OLLAMA_CONTEXT_LENGTH")) or None,
            _whole(environment.get("OLLAMA_NUM_PARALLEL")) or 1,
            environment.get("OLLAMA_KV_CACHE_TYPE", "f16"),
            _whole(environment.get("OLLAMA_GPU_OVERHEAD")),
        )


@dataclass(frozen=True)
class Room:
    """Memory that models can have, in bytes: of all usable GPUs together, and of the host.

    `idle` names GPUs that are there and cannot be used. With `unified` memory the GPU's is the host's.
    """

    host: int
    gpu: int = 0
    gpus: int = 0
    idle: str = ""
    unified: bool = False
    board: str = ""

    @classmethod
    def of(cls, identity: Identity) -> "Room":
        """Of a host. A GPU counts when its driver works; Intel's and unknown sizes are not counted."""
        usable = [gpu for gpu in identity.gpus if _usable(gpu, identity)]
        idle = [gpu for gpu in identity.gpus if gpu.vendor in ("nvidia", "amd") and gpu not in usable]
        unified = bool(usable) and all(gpu.memory == 0 for gpu in usable)
        return cls(
            identity.memory,
            identity.memory if unified else sum(gpu.memory for gpu in usable),
            len(usable),
            ", ".join(gpu.name or f"{gpu.vendor} {gpu.device}" for gpu in idle),
            unified,
            identity.model if "raspberrypi" in identity.marks or "Raspberry Pi" in identity.model else "",
        )


@dataclass(frozen=True)
class Need:
    """What a loaded model takes, in bytes, and for how many tokens of context."""

    weights: int
    cache: int
    buffers: int
    tokens: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.buffers


TYPICAL = Shape(layers=32, kv_heads=8, head_dim=128)
"""For models of which nothing is known but their size: that of the common 8 B models."""

# openai/gpt-oss: gpt_oss/torch/model.py; half of the layers have a window of 128 tokens. Sizes as Ollama's library has
# them; active / total parameters 3.6 of 20.9 and 5.1 of 116.8 billion.
_GPT_OSS = Shape(24, 8, 64, windowed=12, window=128, context=131072, active=3.6 / 20.9)
KNOWN = {
    "gpt-oss:20b": Weights(13_800_000_000, "known size", _GPT_OSS),
    "gpt-oss:120b": Weights(
        65_000_000_000, "known size", replace(_GPT_OSS, layers=36, windowed=18, active=5.1 / 116.8)
    ),
}
KNOWN["gpt-oss:latest"] = KNOWN["gpt-oss:20b"]


def known(name: ModelName) -> Weights | None:
    """A model that we know by name, wherever it is pulled from."""
    if name.namespace != DEFAULT_NAMESPACE:
        return None
    return KNOWN.get(f"{name.model}:{name.tag}")


def guessed(name: ModelName) -> Weights | None:
    """From the number of parameters in a tag such as `70b` or `8b-instruct`; None when it does not say one."""
    match = re.match(r"(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", name.tag.lower())
    if not match:
        return None
    parameters = int(match[1] or 1) * float(match[2]) * (1e9 if match[3] == "b" else 1e6)
    return Weights(int(parameters * _PER_PARAMETER), "estimated from its name")


def shape_of(info: Mapping[str, Any]) -> Shape | None:
    """From GGUF metadata, as `/api/show` gives it under `model_info`; None when it does not say enough.

    Metadata does not say which layers have a window, so that all are counted in full.
    """
    arch = info.get("general.architecture")

    def number(key: str) -> int:
        value = info.get(f"{arch}.{key}")
        values = [item for item in value if isinstance(item, int)] if isinstance(value, list) else [value]
        return max((item for item in values if isinstance(item, int) and not isinstance(item, bool)), default=0)

    layers, heads = number("block_count"), number("attention.head_count")
    kv_heads = number("attention.head_count_kv") or heads
    head_dim = number("attention.key_length") or (number("embedding_length") // heads if heads else 0)
    if not (layers and kv_heads and head_dim):
        return None
    return Shape(layers, kv_heads, head_dim, context=number("context_length"))


def need(weights: Weights, serving: Serving, room: Room) -> Need:
    """What the model takes on a host."""
    shape = weights.shape or TYPICAL
    tokens = serving.context or _default_context(room.gpu)
    if shape.context:
        tokens = min(tokens, shape.context)
    cache = shape.cache(tokens, KV_BYTES.get(serving.cache, 2.0)) * serving.parallel
    # facts 1.11: compute buffers take 0.5 to 2 GiB; small models less.
    buffers = min(max(int(weights.size * 0.08), 300 << 20), 2 * GIB)
    return Need(weights.size, cache, buffers, tokens)


def verdict(subject: str, weights: Weights, serving: Serving, room: Room) -> Finding:
    """Fits the GPU, is split, runs on the CPU, or does not fit; with the sum."""
    wanted = need(weights, serving, room)
    gpu = max(room.gpu - serving.overhead, 0)
    host = max(room.host - RESERVE, 0)
    level, said = _judged(wanted, gpu, host, room)
    if room.board and gpu == 0 and level != "refused":
        level, said = "warning", f"{said}; {_speed(weights, room.board)}"
    return Finding(level, subject, f"{said}: {_sum(wanted, serving, weights)}")


def _judged(wanted: Need, gpu: int, host: int, room: Room) -> tuple[Level, str]:
    total, devices = wanted.total, f"{room.gpus} GPUs" if room.gpus > 1 else "GPU"
    if gpu and total <= (min(gpu, host) if room.unified else gpu):
        return "ok", f"fits the {devices} ({human_bytes(room.gpu)})"
    if gpu and not room.unified and total <= gpu + host:
        share = round(100 * gpu / total)
        return "warning", f"split: {share} % of it fit the {devices} ({human_bytes(room.gpu)}), which makes it slow"
    if not gpu and total <= host:
        idle = f"; {room.idle} cannot be used" if room.idle else ""
        return ("warning" if idle else "ok"), f"CPU only ({human_bytes(room.host)} of memory){idle}"
    beside = f" and {human_bytes(gpu)} on the {devices}" if gpu and not room.unified else ""
    return "refused", (
        f"does not fit: {human_bytes(total)} are needed, there are {human_bytes(host)} of memory{beside}; "
        "take a smaller model or context, or another host"
    )


def _sum(wanted: Need, serving: Serving, weights: Weights) -> str:
    times = f" x {serving.parallel}" if serving.parallel > 1 else ""
    kind = f", {serving.cache}" if serving.cache != "f16" else ""
    assumed = "" if weights.shape else ", assumed"
    return (
        f"weights {human_bytes(wanted.weights)} ({weights.source}) + context {human_bytes(wanted.cache)} "
        f"({wanted.tokens} tokens{times}{kind}{assumed}) + buffers {human_bytes(wanted.buffers)} "
        f"= {human_bytes(wanted.total)}"
    )


def _speed(weights: Weights, board: str) -> str:
    bandwidth = next((value for name, value in _BANDWIDTH if board.startswith(name)), _BANDWIDTH[-1][1])
    active = weights.size * (weights.shape or TYPICAL).active
    return (
        f"about {bandwidth / active:.1f} tokens/s, as the memory of a {board.partition(' Rev')[0]} "
        f"reads {human_bytes(bandwidth)}/s and a token reads {human_bytes(active)}"
    )


def _default_context(gpu: int) -> int:
    """What the server takes when nobody says (ollama: docs/context-length.mdx)."""
    return next((tokens for gib, tokens in ((47, 262144), (23, 32768)) if gpu >= gib * GIB), 4096)


def _usable(gpu: GPU, identity: Identity) -> bool:
    if gpu.vendor == "nvidia":
        return (identity.nvidia_usable and gpu.driver != "vfio-pci") or gpu.slot == "soc"
    return gpu.vendor == "amd" and identity.amd_kfd and gpu.driver == "amdgpu"


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
