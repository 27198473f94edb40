"""How fast models were the last time, kept on this machine: what a host says now is compared with it."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.dataclass import dataclass
from provision.verify.check import Result

Speeds = Mapping[tuple[str, str], float]
"""(host, check) -> tokens a second."""


@dataclass(frozen=True)
class History:
    """A JSON file: inventory -> host -> check -> tokens a second.

    Args:
        path: of the file.
        inventory: whose hosts.
    """

    path: Path
    inventory: Path

    def read(self) -> Speeds:
        """What was written last; nothing where there is none, or none that can be read."""
        known = self._all().get(str(self.inventory.resolve()), {})
        return {
            (host, check): float(speed)
            for host, checks in known.items()
            if isinstance(checks, dict)
            for check, speed in checks.items()
            if isinstance(speed, int | float)
        }

    def write(self, results: Sequence[Result]) -> None:
        """Keep the speeds of these results; those of other hosts stay. A file that cannot be written is no failure."""
        known = self._all()
        mine = known.setdefault(str(self.inventory.resolve()), {})
        for one in results:
            if speed := one.verdict.figures.get("tokens_per_second"):
                mine.setdefault(one.host, {})[one.check] = speed
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            half = self.path.with_suffix(".new")
            half.write_text(json.dumps(known, indent=1))
            half.replace(self.path)

    def _all(self) -> dict[str, dict[str, dict[str, float]]]:
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(known, dict):
            return {}
        return {name: hosts for name, hosts in known.items() if isinstance(hosts, dict)}
