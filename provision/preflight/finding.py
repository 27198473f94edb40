"""What preflight has to say about one thing on one host."""

from typing import Literal

from provision.dataclass import dataclass

Level = Literal["ok", "warning", "refused"]


@dataclass(frozen=True)
class Finding:
    """One line.

    Args:
        level: `refused`: by arithmetic it cannot work, so nothing is touched; `warning`: it may go wrong, or slowly.
        subject: a resource's id, or what was looked at: `clock`, `port 11434`, `disk /srv`.
        text: what was found, with the numbers, and what to do.
    """

    level: Level
    subject: str
    text: str
