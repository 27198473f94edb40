"""What things of a twin are called."""

import re
from pathlib import Path

from provision.values import sha256

LABEL = "provision.twin"
"""Every docker object of a twin carries it; its value is the twin's id. `down` goes by it and by nothing else."""
HOST_LABEL = "provision.twin.host"
INVENTORY_LABEL = "provision.twin.inventory"
SPEC_LABEL = "provision.twin.spec"
RECIPE_LABEL = "provision.twin.recipe"
"""On images: they are kept when a twin goes, and shared by all."""

USER = "admin"
"""Who logs in to a twin's hosts."""


def twin_id(inventory: Path) -> str:
    """12 hex digits for an inventory, by its absolute path: two checkouts of one fleet do not meet."""
    return sha256(str(inventory.resolve()))[:12]


def object_name(twin: str, host: str = "") -> str:
    """Name of a twin's network, or of a host's container and volume, in Docker's alphabet."""
    return f"provision-twin-{twin}" + (f"-{_plain(host)}" if host else "")


def host_name(host: str) -> str:
    """What the host calls itself: the inventory's name, at most the kernel's 63 bytes."""
    return _plain(host)[:63].rstrip("-.")


def _plain(host: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", host)
    # Two names must not become one.
    return plain if plain == host else f"{plain}-{sha256(host)[:6]}"
