"""A part of a large fleet: several runners share its hosts without a word between them."""

import hashlib
import re
from collections.abc import Iterable

from provision.dataclass import dataclass
from provision.errors import InputError
from provision.inventory.fleet import Host


@dataclass(frozen=True)
class Shard:
    """Part `number` of `of`, counted from 1.

    A host's part follows from its name alone, so that a host which is added or left out moves no other one.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`2/5`.

        Raises:
            InputError: it is not that, or there is no such part.
        """
        found = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text.strip())
        if not found or int(found[1]) > int(found[2]):
            raise InputError(f"--shard: {text!r} is not K/N, such as 2/5: part 2 of 5")
        return cls(int(found[1]), int(found[2]))

    def has(self, name: str) -> bool:
        """Whether a host is in this part."""
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % self.of == self.number - 1

    def of_hosts(self, hosts: Iterable[Host]) -> tuple[Host, ...]:
        """Those of the hosts that are in this part, in their order."""
        return tuple(host for host in hosts if self.has(host.name))
