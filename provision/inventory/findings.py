"""What is collected while an inventory is read, to be judged by the whole of it."""

from dataclasses import field

from provision.dataclass import dataclass
from provision.errors import Mistake
from provision.inventory.document import Mark
from provision.values import Reference, Secret


@dataclass
class Findings:
    """What shaping finds besides the values. `references` and `secrets` are checked against the whole fleet."""

    mistakes: list[Mistake] = field(default_factory=list)
    references: list[tuple[Mark, str, Reference]] = field(default_factory=list)
    secrets: list[tuple[Mark, Secret]] = field(default_factory=list)
