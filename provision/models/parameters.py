"""PARAMETER names and types of a Modelfile (ollama: api/types.go). The server does not check them at create time."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | list[str]

INT = [
    "num_ctx",
    "num_keep",
    "num_predict",
    "num_batch",
    "num_gpu",
    "num_thread",
    "main_gpu",
    "seed",
    "top_k",
    "repeat_last_n",
    "draft_num_predict",
]
FLOAT = ["temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"]
BOOL = ["use_mmap"]
LIST = ["stop"]
GONE = [
    "penalize_newline",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mlock",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "numa",
]
KINDS: Mapping[str, str] = {
    **dict.fromkeys(INT, "int"),
    **dict.fromkeys(FLOAT, "float"),
    **dict.fromkeys(BOOL, "bool"),
    **dict.fromkeys(LIST, "list"),
}
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_INT_LIMIT = 2**31


def check_name(name: str) -> None:
    """Refuse what Ollama does not know.

    Raises:
        ValueError: with the nearest right name.
    """
    if name in KINDS:
        return
    if name in GONE:
        raise ValueError(f"parameter {name!r} has no effect any more: remove it")
    near = get_close_matches(name, KINDS, 1)
    raise ValueError(f"unknown parameter {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))


def from_text(name: str, text: str) -> Value:
    """A parameter's value as it stands in a Modelfile. `stop` is one text here; the caller collects them.

    Raises:
        ValueError: unknown name, or not of its type.
    """
    check_name(name)
    kind = KINDS[name]
    if kind == "list":
        return text
    if kind == "bool":
        if text in _TRUE | _FALSE:
            return text in _TRUE
        raise ValueError(_wrong(name, "true or false", text))
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError:
        raise ValueError(_wrong(name, "a whole number" if kind == "int" else "a number", text)) from None
    return _in_range(name, value)


def from_value(name: str, value: object) -> Value:
    """A parameter's value as it stands in the inventory, typed by YAML or by text.

    Raises:
        ValueError: unknown name, or not of its type.
    """
    check_name(name)
    kind = KINDS[name]
    if kind == "list":
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, str) and item for item in items):
            raise ValueError(f"parameter {name!r} takes a text or a list of texts")
        return [str(item) for item in items]
    if isinstance(value, str):
        return from_text(name, value)
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise ValueError(_wrong(name, "true or false", value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(_wrong(name, "a number", value))
    if kind == "int":
        if value != int(value):
            raise ValueError(_wrong(name, "a whole number", value))
        return _in_range(name, int(value))
    return _in_range(name, float(value))


def same(one: object, other: object) -> bool:
    """Whether two values are the same to Ollama: numbers as floats, lists in order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        # Options are float32 in the server and JSON holds what was sent: compare with that precision.
        return math.isclose(one, other, rel_tol=1e-6)
    return one == other


def _in_range(name: str, value: float) -> Value:
    if not math.isfinite(value) or abs(value) >= _INT_LIMIT:
        raise ValueError(f"parameter {name!r}: {value} is out of range")
    return value


def _wrong(name: str, wanted: str, value: object) -> str:
    note = " (a # after the value does not start a comment)" if isinstance(value, str) and "#" in value else ""
    return f"parameter {name!r} takes {wanted}, not {value!r}{note}"
