"""Progress lines (NDJSON) of Ollama's API and of the Docker socket, aggregated.

Both answer HTTP 200 at once and say later, in a line of their own, that the work failed: every line is looked at.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from provision.resources.base import Progress
from provision.values import printable

RETRY = "again: "
"""Begins a line of our own scripts: an attempt failed and another one follows."""


@dataclass
class StreamProgress:
    """Turns the lines of one pull, push or create into `Progress`; keeps what each blob or layer said last.

    Args:
        what: for the reader: `gpt-oss:20b`.
    """

    what: str
    blobs: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __call__(self, line: str) -> Progress | None:
        """One line of the log.

        Raises:
            ValueError: the line says that the work failed.
        """
        if line.startswith(RETRY):
            self.blobs.clear()
            return Progress(f"{self.what}: {printable(line, 200)}")
        try:
            said = json.loads(line)
        except ValueError:
            return None
        if not isinstance(said, dict):
            return None
        if complaint := failure(said):
            raise ValueError(complaint)
        self._count(said)
        done = sum(done for done, _ in self.blobs.values())
        total = sum(total for _, total in self.blobs.values())
        status = said.get("status")
        text = printable(str(status), 100) if status else "working"
        return Progress(f"{self.what}: {text}", done, total)

    def _count(self, said: dict[str, Any]) -> None:
        if "progressDetail" in said:  # Docker: per layer; unpacking repeats the same bytes and is not counted
            detail = said.get("progressDetail") or {}
            layer, total = said.get("id"), _count_of(detail.get("total"))
            if not layer or (said.get("status") == "Extracting" and layer in self.blobs):
                return
            if said.get("status") in ("Download complete", "Pull complete") and layer in self.blobs:
                self.blobs[layer] = (self.blobs[layer][1],) * 2
            elif total and said.get("status") == "Downloading":
                self.blobs[layer] = (_count_of(detail.get("current")), total)
        elif said.get("digest") and said.get("total"):
            self.blobs[str(said["digest"])] = (_count_of(said.get("completed")), _count_of(said["total"]))


def failure(said: dict[str, Any]) -> str | None:
    """Why the work failed, if this line says so: `error` (both), `message` alone (Docker's plain HTTP errors)."""
    if said.get("error"):
        return printable(str(said["error"]), 500)
    if set(said) == {"message"}:
        return printable(str(said["message"]), 500)
    return None


def _count_of(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
