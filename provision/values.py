"""Small values that are parsed once at the edge and trusted inside."""

import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.dataclass import dataclass
from provision.errors import InputError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core.core_schema import CoreSchema

ELIDED = "***"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def quote(text: str | os.PathLike[str]) -> str:
    """Quote a word for POSIX sh. The only way text gets into a script."""
    return shlex.quote(os.fspath(text))


def printable(text: str, limit: int = 2000) -> str:
    """Text of a host made safe for a terminal: control characters dropped, at most `limit` characters."""
    clean = _CONTROL.sub("", text.replace("\r\n", "\n"))
    return clean if len(clean) <= limit else clean[:limit] + " …"


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def sha256(data: bytes | str) -> str:
    """Hex SHA-256 of bytes, or of text as UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def parse_bytes(text: str | int) -> int:
    """A size such as `512`, `20G`, `1.5GiB`, in bytes.

    Raises:
        ValueError: it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", str(text), re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is not a size such as 512M or 20GiB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


def human_bytes(count: float) -> str:
    """`count` bytes for a reader, in decimal units: `13.8 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@dataclass(frozen=True)
class Reference:
    """Marks a settings field as the name of a host or a group of the inventory.

    `first`: the named hosts are set up before the one that names them. False for those that are only let in.
    """

    kinds: tuple[str, ...] = ("group", "host")
    first: bool = True


@dataclass(frozen=True)
class Secret:
    """A value that is never shown. `source` is `env:NAME`, `file:PATH`, `cmd:COMMAND` or `text:` (in memory only).

    It is resolved when it is used, once. Two secrets are equal when their sources are.
    """

    source: str
    base: Path = field(default=Path(), compare=False)
    _text: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, text: str) -> "Secret":
        """A secret that is known already, such as one typed at a prompt."""
        return cls(f"text:{sha256(text)[:12]}", _text=lambda: text)

    def __repr__(self) -> str:
        return ELIDED

    __str__ = __repr__

    def missing(self) -> str | None:
        """Why the secret cannot be had, or None. Never runs a command."""
        kind, _, rest = self.source.partition(":")
        if kind == "env" and not os.environ.get(rest):
            return f"the environment variable {rest} is not set"
        if kind == "file" and not (self.base / Path(rest).expanduser()).is_file():
            return f"the file {rest} does not exist"
        return None

    def reveal(self) -> str:
        """The value. A file's or command's last newline is not part of it.

        Raises:
            InputError: the secret cannot be had.
        """
        text = self._text() if self._text is not None else self._from_source()
        _KNOWN.add(text)
        return text

    def _from_source(self) -> str:
        if problem := self.missing():
            raise InputError(f"secret {self.source}: {problem}")
        kind, _, rest = self.source.partition(":")
        key = (self.source, self.base)
        if key not in _REVEALED:
            _REVEALED[key] = _read_secret(kind, rest, self.base)
        return _REVEALED[key]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            _validate_secret, serialization=core_schema.plain_serializer_function_ser_schema(lambda _: ELIDED)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"secret": {"type": "string", "pattern": "^(env|file|cmd):.+"}},
            "required": ["secret"],
            "additionalProperties": False,
        }


_REVEALED: dict[tuple[str, Path], str] = {}
_KNOWN: set[str] = set()


def revealed() -> frozenset[str]:
    """Every value that a secret of this process revealed: what no output may show."""
    return frozenset(_KNOWN)


def _validate_secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, Mapping) and set(value) == {"secret"}:
        source = str(value["secret"])
        if re.match(r"(env|file|cmd):.+", source):
            return Secret(source)
        raise ValueError("a secret is env:NAME, file:PATH or cmd:COMMAND")
    raise ValueError("a secret does not stand in the inventory: write {secret: env:NAME}, file:PATH or cmd:COMMAND")


def _read_secret(kind: str, rest: str, base: Path) -> str:
    if kind == "env":
        return os.environ[rest]
    if kind == "file":
        try:
            return (base / Path(rest).expanduser()).read_text().removesuffix("\n")
        except OSError as error:
            raise InputError(f"secret file:{rest}: {error.strerror}") from error
    ran = subprocess.run(rest, shell=True, cwd=base, capture_output=True, text=True, check=False)
    if ran.returncode:
        last = printable(ran.stderr.strip().rpartition("\n")[2], 200)
        raise InputError(f"secret cmd:{rest}: exit code {ran.returncode}: {last}")
    return ran.stdout.removesuffix("\n")
