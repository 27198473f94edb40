"""What `plan` and `apply` share: from the options to a run that is under way."""

import contextlib
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from provision.commands.reaching import Options
from provision.dataclass import dataclass
from provision.engine import order
from provision.engine.declare import Declarer, check_roles
from provision.engine.events import Emit, HostExamined, RunFinished, RunStarted
from provision.engine.fleet import Failures, Interrupt, Outcome, each, exit_code, finished, started
from provision.engine.plan import Plan
from provision.engine.reach import Reach, Reached
from provision.host.session import closing
from provision.inventory.fleet import Fleet, Host
from provision.report.reporters import Json, Lines, fan_out, is_terminal, log_file, to_stream, wants_color
from provision.report.text import Style


@dataclass
class Running:
    """A run under way."""

    options: Options
    fleet: Fleet
    hosts: tuple[Host, ...]
    reach: Reach
    declarer: Declarer
    emit: Emit
    interrupt: Interrupt
    outcomes: list[Outcome[Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def each(self, work: Callable[[Host], Any], counts: Callable[[Outcome[Any]], tuple[int, int]]) -> None:
        """Do `work` for every host, in waves and batches.

        Args:
            work: in a thread.
            counts: how many resources were changed, and not, of an outcome.
        """
        failures = Failures(self.options.max_fail)
        waves = order.waves(self.fleet, self.hosts)
        for batch in order.batches(waves, self.options.batch):
            outcomes = each(
                batch,
                started(self.emit, work),
                forks=self.options.forks,
                interrupt=self.interrupt,
                go_on=failures.go_on,
            )
            failed = 0
            for outcome in outcomes:
                failed += outcome.error is not None
                self.outcomes.append(outcome)
                failures.count += outcome.error is not None
                with closing(partial(self.reach.release, outcome.host)):
                    self.emit(finished(outcome, *counts(outcome)))
            if self.options.batch and failed == len(batch):
                failures.give_up()

    def preflight(self, host: Host, reached: Reached, plan: Plan, *, everything: bool = False) -> None:
        """Say what there is to say about a plan before anything is touched.

        Raises:
            HostRefused: it cannot work on this host, and nobody said to go on all the same.
        """
        from provision.preflight.examine import examine, refuse

        if self.options.skip_preflight:
            return
        findings = examine(reached.session, plan, reached.identity, host.settings, everything=everything)
        if findings:
            self.emit(HostExamined(host=host.name, findings=findings))
        refuse(host.name, findings)

    def end(self, pending: bool = False) -> int:
        """The last event; gives the exit code."""
        code = exit_code(self.outcomes, bool(self.interrupt.presses), pending)
        self.emit(RunFinished(exit_code=code, seconds=time.monotonic() - self.began))
        return code


@contextlib.contextmanager
def running(options: Options, fleet: Fleet, hosts: tuple[Host, ...], reach: Reach) -> Iterator[Running]:
    """Set up the output and what Ctrl-C does.

    Args:
        options: of the command line.
        fleet: the inventory.
        hosts: of it, that are meant.
        reach: the connections; whoever made it closes it.

    Raises:
        InputError: an option or a role's setting is wrong.
    """
    with contextlib.ExitStack() as stack:
        check_roles(options.roles, hosts)
        lines, reporter = output(options, stack)
        log = stack.enter_context(log_file(options.command).open("w"))
        emit = fan_out([reporter, Json(log, progress=False)])
        interrupt = Interrupt(lambda: say_interrupted(options), reach.close)
        stack.enter_context(interrupt.installed())
        emit(RunStarted(command=options.command, hosts=tuple(host.name for host in hosts)))
        yield Running(options, fleet, hosts, reach, Declarer(fleet, reach, options.roles), emit, interrupt)
    if lines is not None:
        lines.recap(planned=options.command == "plan")


def output(options: Options, stack: contextlib.ExitStack) -> tuple[Lines | None, Emit]:
    """The reporter for this terminal, pipe or `--json`."""
    if options.as_json:
        return None, Json(sys.stdout)
    color = wants_color(sys.stdout)
    settings: dict[str, Any] = {"diff": options.diff, "verbose": options.verbose, "plan": options.show_plan}
    if is_terminal():
        from provision.report.live import Live

        live = stack.enter_context(Live(color, **settings))
        return live, live
    lines = Lines(to_stream(sys.stdout), Style(color), **settings)
    return lines, lines


def say_interrupted(options: Options) -> None:
    """After the first Ctrl-C."""
    print(
        "interrupted: nothing new is started, running jobs go on on their hosts; Ctrl-C again disconnects.\n"
        f"To go on: {rejoin(sys.argv)}",
        file=sys.stderr,
    )


def rejoin(arguments: Sequence[str]) -> str:
    """The command line that goes on where this one stopped: itself."""
    import shlex

    return shlex.join(["provision", *arguments[1:]])


def owner() -> str:
    """Who this is, for others that find a host locked: `anna@desk, pid 4711`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, pid {os.getpid()}"
