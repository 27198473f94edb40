"""Live progress on a terminal: one line a host with what it is doing, and a bar for bytes."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from provision.engine.events import (
    ChangeProgress,
    ChangeStarted,
    Event,
    HostExamined,
    HostFinished,
    HostPlanned,
    HostStarted,
    Note,
)
from provision.engine.mask import masked
from provision.report.reporters import Lines
from provision.report.text import Style, count
from provision.values import human_bytes, printable


class _Bytes(ProgressColumn):
    """`3.1 GB of 13.8 GB`, where sizes are known."""

    def render(self, task: Task) -> Text:
        """The cell."""
        if not task.fields.get("bytes"):
            return Text("")
        total = f" of {human_bytes(task.total)}" if task.total else ""
        return Text(f"{human_bytes(task.completed)}{total}")


class _Bar(BarColumn):
    """A bar for bytes; nothing for work without a size."""

    def render(self, task: Task) -> Any:
        """The cell."""
        return super().render(task) if task.fields.get("bytes") and task.total else Text("")


class Live(Lines):
    """Lines that stay, above lines that change.

    Args:
        color: as of `wants_color`.
        diff: show the diffs of a plan.
        verbose: say more.
        plan: show plans in full.
    """

    def __init__(self, color: bool, *, diff: bool = False, verbose: int = 0, plan: bool = True) -> None:
        self._console = Console(no_color=not color, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.fields[host]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            _Bar(bar_width=24),
            _Bytes(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        super().__init__(self._print, Style(color), diff=diff, verbose=verbose, plan=plan)

    def __enter__(self) -> "Live":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case HostStarted():
                self._tasks[event.host] = self._progress.add_task("connecting", total=None, host=event.host)
            case ChangeStarted():
                self._doing(event.host, f"{event.action} {event.resource}")
            case ChangeProgress():
                self._doing(event.host, f"{event.resource} {event.text}", event.done, event.total)
            case HostFinished():
                if (task := self._tasks.pop(event.host, None)) is not None:
                    self._progress.remove_task(task)
            case HostPlanned():
                self._doing(event.host, count(len(event.changes), "change") if event.changes else "asked")
            case _:
                pass
        if isinstance(event, HostPlanned | HostExamined | HostFinished | Note) or self.verbose:
            super().__call__(event)

    def _doing(self, host: str, text: str, done: int = 0, total: int = 0) -> None:
        if (task := self._tasks.get(host)) is None:
            return
        shown = masked(printable(text, max(20, self._console.width - 50)))
        self._progress.update(task, description=shown, completed=done, total=total or None, bytes=bool(done or total))

    def _print(self, line: str) -> None:
        # Text and not str: what a host says is not console markup. ANSI colours of our own are read.
        self._progress.console.print(Text.from_ansi(line))
