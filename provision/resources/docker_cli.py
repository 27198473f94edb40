"""Probes of Docker objects by the `docker` program, and the labels that we put on what we make."""

import json
from typing import Any

from provision.dataclass import dataclass
from provision.resources.base import Section
from provision.values import printable, quote

SPEC = "provision.spec"
"""Label: SHA-256 of the whole specification."""
PUBLIC = "provision.public"
"""Label: the specification without secrets, as JSON, so that a plan can name what changed."""
REPLACES = "provision.replaces"
"""Label: the id of the container that this one takes the place of."""

# `timeout`: a daemon that hangs must not hang the probe of everything else.
TOOLS = """\
if ! command -v docker >/dev/null 2>&1; then echo 'docker is not installed' >&2; exit 3; fi
inspect() { kind=$1; shift; timeout 30 docker "$kind" inspect --format "$kind {{json .}}" "$@" 2>&1; }
"""

_MISSING = ("no such container", "no such image", "no such volume", "no such network", "no such object", "not found")
"""What `docker inspect` says of an object that is not there, by kind and version."""


@dataclass(frozen=True)
class Found:
    """What `docker inspect` said: the objects by kind, in order, or why Docker did not answer."""

    objects: tuple[tuple[str, dict[str, Any]], ...] = ()
    complaint: str = ""

    def of(self, kind: str) -> tuple[dict[str, Any], ...]:
        """Objects of one kind."""
        return tuple(item for what, item in self.objects if what == kind)


def inspect(kind: str, *names: str) -> str:
    """Fragment: inspect these objects; those that are missing print nothing that `found` takes for an object."""
    return f"inspect {kind} {' '.join(quote(name) for name in names)}\n"


def found(section: Section) -> Found:
    """Read what `inspect` printed.

    Raises:
        ValueError: an object cannot be read.
    """
    objects, complaint = [], ""
    for line in [*section.lines, *section.err.decode("utf-8", "replace").splitlines()]:
        kind, _, text = line.partition(" ")
        if kind in ("container", "image", "volume", "network") and text.startswith("{"):
            try:
                objects.append((kind, json.loads(text)))
            except ValueError as error:
                raise ValueError(f"docker {kind} inspect printed {printable(line, 80)!r}") from error
        elif line.strip() and not any(words in line.lower() for words in _MISSING):
            complaint = line.strip()
    # Any other complaint than that of a missing object counts only when nothing was found.
    return Found(tuple(objects), "" if objects else printable(complaint, 200))


def labels(item: dict[str, Any]) -> dict[str, str]:
    """An object's labels, wherever its kind keeps them."""
    return (item.get("Config") or item).get("Labels") or {}
