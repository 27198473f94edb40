"""Many hosts at once: threads, batches, a limit of failures, Ctrl-C."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Generic, TypeVar

from provision.dataclass import dataclass
from provision.engine.events import Emit, HostFinished, HostStarted, Status
from provision.errors import Interrupted, ProvisionError, Unreachable
from provision.inventory.fleet import Host

T = TypeVar("T")
FORKS = 10
_LOOK = 0.2
"""Seconds between two looks at the keyboard."""
_LET_GO = 0.5
"""Seconds in which a host whose connection is ended says so itself; one that is still being connected to cannot."""


_Handlers = dict[signal.Signals, Any]


@contextlib.contextmanager
def _handled(handlers: _Handlers) -> Iterator[_Handlers]:
    """Signals are handled so; gives what handled them before, and does again afterwards."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of one host: a value, or an error; neither when it was never begun."""

    host: str
    value: T | None = None
    error: ProvisionError | None = None
    seconds: float = 0.0

    @property
    def begun(self) -> bool:
        """Whether any work was done for it."""
        return self.value is not None or self.error is not None


class Interrupt:
    """Ctrl-C: once, nothing new starts; twice, the connections are ended.

    Args:
        first: called once, after the first.
        second: called after the second; ends the connections.
    """

    def __init__(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        self.stop = threading.Event()
        self.presses = 0
        self._seen = 0
        self._cut = math.inf
        self._before: _Handlers = {}
        self._actions = (first, second)

    @contextlib.contextmanager
    def installed(self) -> Iterator["Interrupt"]:
        """Ctrl-C comes here while this lasts; SIGTERM counts as one."""
        with _handled(dict.fromkeys((signal.SIGINT, signal.SIGTERM), self._pressed)) as self._before:
            yield self

    def lifted(self) -> contextlib.AbstractContextManager[object]:
        """While this lasts Ctrl-C goes where it went before `installed`: for work that has no loop that looks here."""
        return _handled(self._before)

    def _pressed(self, _number: int, _frame: object) -> None:
        # A signal handler does as little as it can: the loop of `each` looks here often.
        self.presses += 1
        self.stop.set()

    def act(self) -> None:
        """Do what the key presses since the last call ask for."""
        while self._seen < self.presses:
            if self._seen < len(self._actions):
                self._actions[self._seen]()
            self._seen += 1
            if self._seen == len(self._actions):
                self._cut = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the connections were ended, and no host is waited for any more."""
        return time.monotonic() > self._cut + _LET_GO


def each(
    hosts: Sequence[Host],
    work: Callable[[Host], T],
    *,
    forks: int = FORKS,
    interrupt: Interrupt | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[Outcome[T]]:
    """Do `work` for every host, `forks` at a time; gives the outcomes as they come.

    Args:
        hosts: begun in this order.
        work: runs in a thread; a `ProvisionError` is an outcome, any other exception ends the whole.
        forks: how many at once.
        interrupt: what Ctrl-C does.
        go_on: asked before a host is begun; False: it and all later ones are not begun.
    """
    todo = list(reversed(hosts))
    running: dict[Future[T], tuple[Host, float]] = {}
    stop = interrupt.stop if interrupt else threading.Event()
    while todo or running:
        while todo and len(running) < forks and go_on() and not stop.is_set():
            host = todo.pop()
            running[_begin(work, host)] = (host, time.monotonic())
        if not running or (interrupt and interrupt.over):
            break
        done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
        if interrupt:
            interrupt.act()
        for future in done:
            host, began = running.pop(future)
            yield _outcome(host, future, time.monotonic() - began)
    for future, (host, began) in running.items():
        seconds = time.monotonic() - began
        if future.done():
            yield _outcome(host, future, seconds)
        else:
            error = Interrupted(f"{host.name}: not waited for any longer")
            yield Outcome(host.name, error=error, seconds=seconds)
    yield from (Outcome(host.name) for host in reversed(todo))


def _begin(work: Callable[[Host], T], host: Host) -> "Future[T]":
    """Start the work for a host. Not in a pool: Python would wait for its threads before it ends."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(host))
        except BaseException as error:  # noqa: BLE001 - not caught: whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name=f"host {host.name}", daemon=True).start()
    return future


def _outcome(host: Host, future: "Future[T]", seconds: float) -> Outcome[T]:
    try:
        return Outcome(host.name, value=future.result(), seconds=seconds)
    except ProvisionError as error:
        return Outcome(host.name, error=error, seconds=seconds)


class Failures:
    """Counts hosts that went wrong; asked before a host is begun."""

    def __init__(self, most: int | None) -> None:
        self.most, self.count = most, 0

    def give_up(self) -> None:
        """Begin no more hosts."""
        self.most = self.count

    def go_on(self) -> bool:
        """Whether more hosts may be begun."""
        return self.most is None or self.count < self.most


def status_of(error: ProvisionError | None, begun: bool, changed: int) -> Status:
    """A host's status for the reader."""
    if not begun:
        return "skipped"
    if error is None:
        return "changed" if changed else "ok"
    if isinstance(error, Interrupted):
        return "interrupted"
    return "unreachable" if isinstance(error, Unreachable) else "failed"


def finished(outcome: Outcome[T], changed: int, unchanged: int) -> HostFinished:
    """The last event of a host."""
    return HostFinished(
        host=outcome.host,
        status=status_of(outcome.error, outcome.begun, changed),
        changed=changed,
        unchanged=unchanged,
        seconds=outcome.seconds,
        error=str(outcome.error) if outcome.error else "",
    )


def exit_code(outcomes: Sequence[Outcome[T]], interrupted: bool = False, pending: bool = False) -> int:
    """The program's exit code: 130 before 3 before 1 before 4 before 2."""
    codes = {outcome.error.exit_code for outcome in outcomes if outcome.error}
    if interrupted or 130 in codes:
        return 130
    if any(not outcome.begun for outcome in outcomes):
        codes.add(1)
    return next((code for code in (3, 1, 4) if code in codes), 2 if pending else 0)


def started(emit: Emit, work: Callable[[Host], T]) -> Callable[[Host], T]:
    """`work` that says first that the host's turn has come."""

    def inner(host: Host) -> T:
        emit(HostStarted(host=host.name))
        return work(host)

    return inner
