"""Any value as JSON values, so that equal declarations and observations have equal digests, in every process."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.resources.base import Resource
from provision.values import Secret, canonical


def plain(value: Any, top: bool = False) -> Any:
    """A value as JSON values. Other resources in it by their id, files by their name alone."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Secret):
        return {"secret": value.reveal()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=canonical)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    # A protocol looks for each of its members: asked of every text, it was most of what an unchanged host costs here.
    if not top and isinstance(value, Resource):
        return value.id
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return getattr(value, "__qualname__", type(value).__qualname__)
