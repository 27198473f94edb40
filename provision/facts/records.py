"""The probe's output as records. Everything in it is what a host chose to say: bounded, cleaned, never evaluated."""

import re
from collections.abc import Iterator

from provision.values import printable

_LIMIT = 1 << 20
_LINES = 20_000
_VALUE = 4096
_BLANK = re.compile(r"\s")
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class Records:
    """`key=value` lines; a key may come many times."""

    def __init__(self, out: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        for raw in out[:_LIMIT].split(b"\n", _LINES)[:_LINES]:
            key, found, value = raw[: _VALUE * 2].partition(b"=")
            if found and re.fullmatch(rb"[a-z][a-z0-9_]{0,30}", key):
                text = _BLANK.sub(" ", printable(value.decode("utf-8", "replace"), _VALUE))
                self._values.setdefault(key.decode(), []).append(text.strip())

    def all(self, key: str) -> list[str]:
        """Every value of the key that is not empty, in order."""
        return [value for value in self._values.get(key, ()) if value]

    def one(self, key: str) -> str:
        """The first value of the key, "" when there is none."""
        return next(iter(self.all(key)), "")

    def number(self, key: str) -> int:
        """The first value as a number, 0 when it is none."""
        return number(self.one(key))

    def pairs(self, key: str, separator: str) -> Iterator[tuple[str, str]]:
        """Values split in two at the separator; those without one are left out."""
        for value in self.all(key):
            left, found, right = value.partition(separator)
            if found:
                yield left.strip(), right.strip()


def number(text: str) -> int:
    """A plain decimal number of a host; 0 for anything else."""
    return int(text) if _NUMBER.fullmatch(text) else 0


def known(text: str) -> int | None:
    """A number, or None for what drivers say instead: `[N/A]`, `[Not Supported]`, `[Unknown Error]`."""
    return int(text) if _NUMBER.fullmatch(text) else None
