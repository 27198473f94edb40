import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from provision.engine import events
from provision.engine.events import Event, Status, change_as_json
from provision.resources.base import Change

TEXT = (Path(__file__).parents[3] / "docs" / "events.md").read_text()
KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind.name]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_event_is_documented_with_its_fields(kind: type[Event]) -> None:
    row = next((line for line in TEXT.splitlines() if line.startswith(f"| `{kind.name}` |")), "")
    documented = set(re.findall(r"`(\w+)`", row.split("|")[2])) if row else set()
    assert documented == set(inspect.signature(kind).parameters)


def test_no_other_event_is_documented() -> None:
    assert set(re.findall(r"^\| `([a-z]+(?:-[a-z]+)?)` \|", TEXT, re.MULTILINE)) - {
        "resource", "action", "why", "diffs", "download", "uncertain"
    } == {kind.name for kind in KINDS}  # fmt: skip


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_is_documented(status: str) -> None:
    assert f"- `{status}`:" in TEXT


def test_a_change_is_documented() -> None:
    for field in change_as_json(Change("a:b", "create", "why")):
        assert f"`{field}`" in TEXT.partition("A change in `changes`")[2]
