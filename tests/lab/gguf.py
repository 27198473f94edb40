"""A tiny model in the real format: nonsense weights, printable words, loads in half a second.

The first hidden dimension is a constant that no block writes to, so that the head can hold bytes and control tokens far
down: a random byte token would make invalid UTF-8, which newer servers answer with `done: false`.
"""

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.lab.cache import made, recipe_hash

EMBEDDING, HEADS, LAYERS, FEED_FORWARD, CONTEXT = 64, 4, 2, 128, 2048
RESERVED = 259
"""Tokens that are no words: unknown, begin, end, 256 bytes."""

WORDS = """the a of and to in is it you that was for on are with as his they be at one have this from or had by hot but
some what there we can out other were all your when up use word how said an each she which do their time if will way
about many then them would write like so these her long make thing see him two has look more day could go come did my
sound no most number who over know water than call first people may down side been now find""".split()

Floats = NDArray[np.float32]


def tiny() -> Path:
    """The model's file."""
    return made("gguf", recipe_hash(Path(__file__)), lambda target: write(target / "tiny.gguf")) / "tiny.gguf"


def write(path: Path) -> None:
    """Write the model to `path`: 290 kB, always the same."""
    random = np.random.default_rng(0)
    tokens, kinds = _tokens()
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, tokens, kinds)

    def some(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.08).astype(np.float32)

    def closed(*shape: int) -> Floats:
        values = some(*shape)
        values[0, :] = 0
        return values

    def put(name: str, values: Floats) -> None:
        writer.add_tensor(name, values.astype(np.float16))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(EMBEDDING, np.float32))

    embedding = some(len(tokens), EMBEDDING)
    embedding[:, 0] = 1.0
    put("token_embd.weight", embedding)
    head = some(len(tokens), EMBEDDING) * np.float32(4)
    head[:, 0] = 2.0
    head[:RESERVED, :] = 0
    head[:RESERVED, 0] = -8.0
    put("output.weight", head)
    ones("output_norm.weight")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        ones(block + "attn_norm.weight")
        ones(block + "ffn_norm.weight")
        for kind in "qkv":
            put(f"{block}attn_{kind}.weight", some(EMBEDDING, EMBEDDING))
        put(block + "attn_output.weight", closed(EMBEDDING, EMBEDDING))
        put(block + "ffn_gate.weight", some(FEED_FORWARD, EMBEDDING))
        put(block + "ffn_up.weight", some(FEED_FORWARD, EMBEDDING))
        put(block + "ffn_down.weight", closed(EMBEDDING, FEED_FORWARD))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokens() -> tuple[list[str], list[int]]:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [2, 3, 3, *([6] * 256)]
    words = ["\u2581", *("\u2581" + word for word in WORDS), *(chr(code) for code in range(32, 127))]
    unique = list(dict.fromkeys(words))
    return tokens + unique, kinds + [1] * len(unique)


def _describe(writer: "gguf.GGUFWriter", tokens: Sequence[str], kinds: Sequence[int]) -> None:
    writer.add_name("tiny-random-llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * RESERVED + [-float(rank) for rank in range(len(tokens) - RESERVED)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
