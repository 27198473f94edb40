"""Where roles and templates are found: a fleet's own first, then the built-in ones; and where caches are."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """The folder with the built-in `roles/`, `templates/` and `inventory/`: a wheel's, else the source checkout's."""
    bundled = _PACKAGE / "_bundled"
    return bundled if bundled.is_dir() else _PACKAGE.parent


def fleet_root(inventory: Path) -> Path:
    """The folder a fleet lives in: its inventory's, or the one above when that is called `inventory`."""
    folder = _beside(inventory)
    return folder.parent if folder.name == "inventory" else folder


def search_path(kind: str, inventory: Path | None = None) -> tuple[Path, ...]:
    """Existing folders of a kind (`roles`, `templates`), the fleet's own first."""
    folders: list[Path] = []
    if inventory is not None:
        folders += [_beside(inventory) / kind, fleet_root(inventory) / kind]
    folders.append(data_root() / kind)
    return tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def cache_folder() -> Path:
    """Where this machine keeps what may be lost: `~/.cache/provision`. XDG_CACHE_HOME is honoured."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision"


def _beside(inventory: Path) -> Path:
    return (inventory if inventory.is_dir() else inventory.parent).resolve()
