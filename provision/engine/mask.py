"""Nothing that a secret revealed reaches a screen or a file."""

from collections.abc import Mapping
from typing import Any

from provision.values import ELIDED, quote, revealed

_SHORTEST = 3
"""Shorter secrets are not replaced: `***` in place of every `a` would hide the text and tell the secret."""


def masked(text: str) -> str:
    """`text` with the values of all secrets revealed so far replaced by `***`, as they are and as sh quotes them."""
    for secret in sorted(revealed(), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            quoted = quote(secret)
            # A secret with a quote in it looks different inside a quoted word.
            inner = quoted[1:-1] if quoted != secret else secret
            for form in (secret, inner):
                text = text.replace(form, ELIDED)
    return text


def masked_value(value: Any) -> Any:
    """A JSON value with every text in it masked."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {masked(str(key)): masked_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_value(item) for item in value]
    return value
