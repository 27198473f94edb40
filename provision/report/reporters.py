"""Who shows the events: a terminal with progress, plain lines, a stream of JSON, the log file."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from provision.engine.events import (
    ChangeProgress,
    Emit,
    Event,
    HostExamined,
    HostFinished,
    HostPlanned,
    RunStarted,
    as_json,
)
from provision.engine.mask import masked
from provision.errors import InputError
from provision.report.text import Style, event_lines, examined_lines, plan_lines, recap_line, totals_line


def wants_color(stream: TextIO) -> bool:
    """A terminal, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Lines:
    """Plain lines, for pipes, files and CI.

    Args:
        write: gets one line, masked.
        style: colours.
        diff: show the diffs of a plan.
        verbose: say more.
        plan: show plans in full (`plan`), else only how many changes there are.
    """

    def __init__(
        self, write: Callable[[str], None], style: Style, *, diff: bool = False, verbose: int = 0, plan: bool = True
    ) -> None:
        self._write, self.style, self.diff, self.verbose, self.plan = write, style, diff, verbose, plan
        self._finished: list[HostFinished] = []
        self._planned: dict[str, HostPlanned] = {}
        self._width = 0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, RunStarted):
            self._width = max((len(host) for host in event.hosts), default=0)
        elif isinstance(event, HostPlanned):
            self._planned[event.host] = event
            if self.plan:
                self.lines(plan_lines(event, self.style, diff=self.diff, verbose=self.verbose))
        elif isinstance(event, HostExamined):
            self.lines(examined_lines(event, self.style, only=not self.plan))
        elif isinstance(event, HostFinished):
            self._finished.append(event)
            if event.error:
                self.lines(self.style.paint(line, "31") for line in event.error.splitlines())
        else:
            self.lines(event_lines(event, self.style, verbose=self.verbose))

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines."""
        for line in lines:
            self._write(masked(line))

    def recap(self, planned: bool = False) -> None:
        """The end: one line for each host in the order in which they ended, or the sums of a plan."""
        if not planned:
            self.lines(recap_line(event, self.style, self._width) for event in self._finished)
            return
        wrong = [event for event in self._finished if event.error]
        self.lines(recap_line(event, self.style, self._width) for event in wrong)
        if len(self._planned) > 1:
            self.lines([totals_line(self._planned.values())])


def to_stream(stream: TextIO) -> Callable[[str], None]:
    """Write lines to a stream at once."""

    def write(line: str) -> None:
        stream.write(line + "\n")
        stream.flush()

    return write


class Json:
    """One JSON object a line.

    Args:
        stream: where to.
        progress: also `change-progress`, of which there are many.
    """

    def __init__(self, stream: TextIO, progress: bool = True) -> None:
        self._stream, self._progress = stream, progress

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if self._progress or not isinstance(event, ChangeProgress):
            self._stream.write(json.dumps(as_json(event), ensure_ascii=False) + "\n")
            self._stream.flush()


def log_file(command: str) -> Path:
    """A new file for the log of a run: `~/.local/state/provision/log/20260131-120000-apply-4711.jsonl`.

    Only its owner can read it.

    Raises:
        InputError: there is no room for it, or the folder is not this user's.
    """
    path = own_folder(log_folder()) / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{os.getpid()}.jsonl"
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise _unkept(path, error) from error
    return path


def own_folder(path: Path) -> Path:
    """Make a folder that only its owner can read.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unkept(path, error) from error
    return path


def _unkept(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written: {error.strerror}", "XDG_STATE_HOME names another place")


def state_folder() -> Path:
    """Where this machine keeps what outlives a run: `~/.local/state/provision`. XDG_STATE_HOME is honoured."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "provision"


def log_folder() -> Path:
    """Where the logs of runs are."""
    return state_folder() / "log"


def fan_out(reporters: Iterable[Emit]) -> Emit:
    """One function for all; hosts report from their own threads, so one event at a time."""
    known = tuple(reporters)
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            for reporter in known:
                reporter(event)

    return emit


def is_terminal() -> bool:
    """Whether a person watches: progress is drawn only then."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
