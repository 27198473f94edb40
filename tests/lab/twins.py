"""An inventory on disk whose twin is made by `provision twin`, as a user would."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import yaml

from tests.lab.cli import Program
from tests.lab.machine import client

THREE = {"all": {"vars": {"provision_roles": []}, "hosts": {"a.office.lan": {}, "b": {}, "c": {}}}}


@dataclass
class Fleet(Program):
    """An inventory as it was written last; its twins are started one after the other, which takes longer."""

    patience: ClassVar[float] = 900

    @property
    def path(self) -> Path:
        return self.folder / "inventory" / "office.yml"

    def write(self, data: object) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(yaml.safe_dump(data))

    def command(self, *words: str) -> list[str]:
        """The command line, with this inventory."""
        return [sys.executable, "-m", "provision", *words[:2], "-i", str(self.path), *words[2:]]

    def containers(self) -> dict[str, str]:
        """Host -> id of its container."""
        label = f"provision.twin.inventory={self.path.resolve()}"
        found = client().containers.list(all=True, ignore_removed=True, filters={"label": label})
        return {one.labels["provision.twin.host"]: str(one.id) for one in found}


@contextmanager
def fleet_of(inventory: object, folder: Path) -> Iterator[Fleet]:
    """This inventory on disk; twins that were made of it are removed in the end."""
    made = Fleet(folder)
    made.write(inventory)
    try:
        yield made
    finally:
        made.run("twin", "down")
