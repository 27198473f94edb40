"""A host as its facts describe it, for tests to which any will do, and what is picked out of a declaration."""

from collections.abc import Iterable
from typing import TypeVar

from provision.facts.model import OS, Identity
from provision.resources.base import Resource

DEBIAN = OS("debian", "13", "trixie", "Debian 13", "debian")
SERVER = Identity("server", DEBIAN, "amd64", "6.12", "systemd", "none", "apt", "cpu", 2, 8 << 30)
"""Debian 13 without a GPU; others by `dataclasses.replace`."""

T = TypeVar("T")


def all_of(kind: type[T], resources: Iterable[Resource]) -> list[T]:
    """The resources of a kind."""
    return [resource for resource in resources if isinstance(resource, kind)]


def one(kind: type[T], resources: Iterable[Resource]) -> T:
    """The only resource of a kind."""
    (found,) = all_of(kind, resources)
    return found
