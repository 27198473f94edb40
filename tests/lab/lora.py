"""A LoRA adapter of the tiny model, with weights large enough that other words come out."""

from pathlib import Path

import gguf
import numpy as np

from tests.lab.cache import made, recipe_hash
from tests.lab.gguf import EMBEDDING, LAYERS

RANK = 2


def adapter() -> Path:
    """The adapter's file."""
    return made("lora", recipe_hash(Path(__file__)), lambda target: write(target / "adapter.gguf")) / "adapter.gguf"


def write(path: Path) -> None:
    """Write an adapter of the query and value weights to `path`, always the same (llama.cpp: src/llama-adapter.cpp)."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 4.0)
    for layer in range(LAYERS):
        for kind in "qv":
            for part, shape in (("lora_a", (RANK, EMBEDDING)), ("lora_b", (EMBEDDING, RANK))):
                values = random.standard_normal(shape).astype(np.float32)
                writer.add_tensor(f"blk.{layer}.attn_{kind}.weight.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
