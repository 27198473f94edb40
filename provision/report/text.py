"""How a plan and a run look as text. Pure: events in, lines out."""

import difflib
from collections.abc import Iterable, Iterator

from provision.engine.events import (
    ChangeFinished,
    ChangeStarted,
    Event,
    HostExamined,
    HostFinished,
    HostPlanned,
    Note,
)
from provision.resources.base import Change, Diff
from provision.values import human_bytes, printable

_SIGNS = {"create": "+", "install": "+", "pull": "+", "add": "+", "remove": "-", "uninstall": "-", "delete": "-"}
_COLORS = {"+": "32", "-": "31", "~": "33", "@": "36"}
_STATUS_COLORS = {
    "ok": "32",
    "changed": "33",
    "failed": "31",
    "unreachable": "31",
    "interrupted": "35",
    "skipped": "36",
}
_LEVEL_COLORS = {"ok": "32", "warning": "33", "refused": "31"}
_MOST_DIFF = 400
"""Lines of a diff that are shown."""


class Style:
    """Colours, or none.

    Args:
        color: whether the output is a terminal that wants them.
    """

    def __init__(self, color: bool) -> None:
        self.color = color

    def paint(self, text: str, code: str) -> str:
        """`text` in a colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code else text


def sign(action: str) -> str:
    """`+` for what appears, `-` for what goes, `~` for what becomes different."""
    return _SIGNS.get(action, "~")


def plan_lines(event: HostPlanned, style: Style, *, diff: bool = False, verbose: int = 0) -> Iterator[str]:
    """What would change on a host."""
    total = event.unchanged + len(event.changes)
    if not event.changes:
        yield f"{event.host}: nothing to change, {count(total, 'resource')} as declared"
    else:
        size = sum(change.download or 0 for change in event.changes)
        download = f", {human_bytes(size)} to download" if size else ""
        yield f"{event.host}: {count(len(event.changes), 'change')}, {event.unchanged} unchanged{download}"
        width = max(len(change.action) for change in event.changes)
        for change in event.changes:
            yield from change_lines(change, style, width, diff=diff, verbose=verbose)
    if event.no_longer_declared:
        yield "  no longer declared, left as it is:"
        yield from (f"    {printable(name)}" for name in event.no_longer_declared)
    for note in event.notes:
        yield f"  note: {printable(note)}"


def examined_lines(event: HostExamined, style: Style, *, only: bool = False) -> Iterator[str]:
    """What preflight says.

    Args:
        event: of a host.
        style: colours.
        only: leave out what is fine.
    """
    shown = [one for one in event.findings if not (only and one.level == "ok")]
    if shown:
        yield f"{event.host}: preflight"
    for one in shown:
        level = style.paint(f"{one.level:<7}", _LEVEL_COLORS[one.level])
        yield f"  {level}  {printable(one.subject)}: {printable(one.text, 600)}"


def change_lines(change: Change, style: Style, width: int, *, diff: bool, verbose: int) -> Iterator[str]:
    """One change: what, why, how big, and its diffs if they are wanted."""
    mark = sign(change.action)
    size = f", {human_bytes(change.download)}" if change.download else ""
    unknown = " (unknown until then)" if change.uncertain and "unknown" not in change.why else ""
    head = f"  {mark} {change.action:<{width}}  {printable(change.resource)}"
    yield style.paint(head, _COLORS[mark]) + f"  {printable(change.why)}{size}{unknown}"
    if verbose and not diff:
        for key in sorted({*change.before, *change.after}):
            before, after = change.before.get(key), change.after.get(key)
            if before != after:
                yield f"      {key}: {_short(before)} -> {_short(after)}"
    if diff:
        for item in change.diffs:
            yield from diff_lines(item, style)


def diff_lines(diff: Diff, style: Style) -> Iterator[str]:
    """A unified diff, indented; control characters dropped, long ones cut."""
    lines = list(
        difflib.unified_diff(
            printable(diff.before, 1 << 20).splitlines(),
            printable(diff.after, 1 << 20).splitlines(),
            diff.path if diff.before else "/dev/null",
            diff.path if diff.after else "/dev/null",
            lineterm="",
        )
    )
    for line in lines[:_MOST_DIFF]:
        code = "1" if line.startswith(("---", "+++")) else _COLORS.get(line[:1], "")
        yield "      " + style.paint(line, code if line[:1] in "+-@" else "")
    if len(lines) > _MOST_DIFF:
        yield f"      … {len(lines) - _MOST_DIFF} more lines"


def event_lines(event: Event, style: Style, *, verbose: int = 0) -> Iterator[str]:
    """Plain lines for what happens during an apply; progress has none."""
    if isinstance(event, ChangeStarted):
        yield f"{event.host}: {event.action} {printable(event.resource)}"
    elif isinstance(event, ChangeFinished) and (verbose or event.seconds >= 1):
        yield f"{event.host}: {event.action} {printable(event.resource)} done, {event.seconds:.1f} s"
    elif isinstance(event, Note):
        yield f"{event.host}: {printable(event.text)}"


def recap_line(event: HostFinished, style: Style, width: int) -> str:
    """`gpu02  3 changed  41 unchanged  12.4 s`; the status stands first when something is wrong."""
    name = f"{event.host:<{width}}"
    counts = f"{event.changed} changed  {event.unchanged} unchanged  {event.seconds:.1f} s"
    if event.status in ("ok", "changed"):
        return f"{style.paint(name, _STATUS_COLORS[event.status])}  {counts}"
    word = style.paint(event.status, _STATUS_COLORS[event.status])
    if event.status in ("skipped", "unreachable"):
        return f"{name}  {word}"
    return f"{name}  {word}  {counts}"


def totals_line(plans: Iterable[HostPlanned]) -> str:
    """`4 hosts: 12 changes, 160 unchanged, 13.8 GB to download`."""
    known = list(plans)
    changes = [change for plan in known for change in plan.changes]
    size = sum(change.download or 0 for change in changes)
    download = f", {human_bytes(size)} to download" if size else ""
    unchanged = sum(plan.unchanged for plan in known)
    return f"{count(len(known), 'host')}: {count(len(changes), 'change')}, {unchanged} unchanged{download}"


def count(number: int, noun: str) -> str:
    """`1 change`, `2 changes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(value: object) -> str:
    return "nothing" if value is None else printable(" ".join(str(value).split()), 120)
