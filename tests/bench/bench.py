"""What the parts of the bench share: the hosts, the tools, how often each is run."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.bench.stage import Stage
from tests.bench.tools import Desk, Peers
from tests.lab.prepare import Lab


@dataclass
class Bench:
    """One run of the bench.

    Args:
        folder: for what it writes.
        peers: the other tools.
        lab: the prepared lab.
        staging: makes the hosts, when a part asks for them.
        counts: of hosts, of which no-change runs are measured.
        distances: round-trip times in ms.
        repeat: runs of the quick tools; the slow ones run less often.
    """

    folder: Path
    peers: Peers
    lab: Lab
    staging: Callable[[], Stage]
    counts: Sequence[int]
    distances: Sequence[int]
    repeat: int
    python: str = sys.executable
    _made: int = field(default=0, init=False)

    @cached_property
    def stage(self) -> Stage:
        """The hosts."""
        return self.staging()

    def desk(self, count: int, ports: Sequence[int] | None = None) -> Desk:
        """The tools, for the first so many hosts; reached at other ports than their own, where given."""
        self._made += 1
        names = self.stage.names(count)
        reached = ports or [host.port for host in self.stage.hosts[:count]]
        where = dict(zip(names, reached, strict=True))
        return Desk(self.folder / f"desk{self._made}", self.peers, self.stage, where)

    def runs(self, count: int, slow: int = 2) -> Mapping[str, int]:
        """How often each tool runs, by the first word of its name."""
        slow = slow if count == 1 else 1
        return {"": self.repeat, "pyinfra": max(slow, min(3, self.repeat)), "ansible": slow}
