"""What `plan` and `apply` share: from the options to a run that is under way."""

import contextlib
import getpass
import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any

from provision.dataclass import dataclass
from provision.engine import order
from provision.engine.declare import Declarer, check_roles
from provision.engine.events import Emit, HostExamined, RunFinished, RunStarted
from provision.engine.fleet import Failures, Interrupt, Outcome, closing, each, exit_code, finished, started
from provision.engine.plan import Plan
from provision.engine.reach import Reach, Reached
from provision.engine.shard import Shard
from provision.errors import InputError
from provision.inventory.fleet import Fleet, Host
from provision.inventory.locate import find_inventory
from provision.inventory.reader import Reader
from provision.report.reporters import Json, Lines, fan_out, is_terminal, log_file, to_stream, wants_color
from provision.report.text import Style
from provision.roles import RoleSchemas
from provision.values import Secret


@dataclass(frozen=True)
class Options:
    """What the command line said, for all commands that work on hosts."""

    command: str
    inventory: Path | None = None
    pattern: str = "all"
    as_json: bool = False
    verbose: int = 0
    ask_pass: bool = False
    ask_become_pass: bool = False
    forks: int = 10
    roles: tuple[str, ...] | None = None
    batch: tuple[str, ...] = ()
    max_fail: int | None = None
    diff: bool = False
    show_plan: bool = True
    skip_preflight: bool = False
    shard: str | None = None


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


def split(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as a tuple; None stays None."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@contextlib.contextmanager
def running(options: Options, fleet: Fleet | None = None) -> Iterator[Running]:
    """Read the inventory, ask for passwords, set up the output; at the end connections are closed.

    Args:
        options: of the command line.
        fleet: one that was read already, in place of the inventory's.

    Raises:
        InputError: the inventory or an option is wrong.
    """
    with contextlib.ExitStack() as stack:
        if fleet is None:
            fleet, hosts, reach = stack.enter_context(reaching(options))
        else:
            hosts, reach = meant(fleet, options), Reach(fleet)
            stack.enter_context(closing(reach.close))
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


@contextlib.contextmanager
def reaching(options: Options) -> Iterator[tuple[Fleet, tuple[Host, ...], Reach]]:
    """The inventory, the hosts of it that are meant, and the connections to them; these end with the block.

    To load the roles and read their settings takes as long as a login: the first hosts are logged in to meanwhile.
    A mistake in the settings ends it before any host is asked for more than what it is.

    Raises:
        InputError: the inventory or an option is wrong.
    """
    path = find_inventory(options.inventory)
    reader = Reader(path, RoleSchemas(path))
    reach = Reach(reader.bare)
    with closing(reach.close):
        if reader.sound and not (options.ask_pass or options.ask_become_pass or options.batch):
            with contextlib.suppress(InputError):  # a wrong pattern is told below, after the inventory's mistakes
                reach.begin(host.name for host in meant(reader.bare, options)[: options.forks])
        fleet = reader.fleet()
        hosts = meant(fleet, options)
        try:
            order.batches([], options.batch)
        except ValueError as error:
            raise InputError(f"--batch: {error}") from error
        reach.password, reach.become_password = prompted(options)
        yield fleet, hosts, reach


def meant(fleet: Fleet, options: Options) -> tuple[Host, ...]:
    """The hosts that the pattern names; of these the ones in our part, where there are several.

    Raises:
        InputError: the pattern or the part is wrong, or no host is left: what looks at none finds nothing wrong.
    """
    hosts = fleet.match(options.pattern)
    if not hosts:
        raise InputError(f"the pattern {options.pattern!r} leaves no host of {fleet.path}")
    return Shard.parse(options.shard).of_hosts(hosts) if options.shard is not None else hosts


def prompted(options: Options) -> tuple[Secret | None, Secret | None]:
    """Passwords typed at prompts: of the login, and for sudo or su.

    Raises:
        InputError: nobody is there to type.
    """
    password = become = None
    try:
        if options.ask_pass:
            password = Secret.of(_typed("SSH password: "))
        if options.ask_become_pass:
            hint = " (empty: the SSH password)" if password else ""
            typed = _typed(f"Become password{hint}: ")
            become = Secret.of(typed) if typed else password
    except (EOFError, getpass.GetPassWarning) as error:
        raise InputError("no password was typed", "-k and -K need a terminal") from error
    return password, become


def _typed(prompt: str) -> str:
    """A line from the terminal, not shown. Without one nothing is asked, and nothing is said of echoes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        return getpass.getpass(prompt)


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
