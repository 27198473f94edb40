"""The verification of a run: hosts at once, then their ports from each other, then the fleet's own tests."""

import contextlib
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision import accelerators
from provision.engine.declare import Declarer
from provision.engine.fleet import Interrupt, Outcome, each, exit_code
from provision.engine.reach import Reach
from provision.errors import HostError, ProvisionError
from provision.inventory.fleet import Fleet, Host
from provision.report.reporters import log_folder
from provision.resources.base import Section
from provision.verify.arguments import find_tests
from provision.verify.check import FLEET, Result, Verdict
from provision.verify.checks import reach as ports
from provision.verify.checks.reach import Doors, Knock
from provision.verify.choose import checks_of, secrets_in
from provision.verify.host import Verified, verify
from provision.view import HostView

NOT_PROVED = Verdict("skipped", "not proved here: the GPU is a stand-in, models and containers ran without one")
"""On a host whose facts show a usable GPU where there is none, as in a twin."""
_SHORTEST = 8
"""Secrets with fewer characters are found everywhere by chance."""
_LOGS = 50
"""The newest files of our own log that are searched."""


@dataclass
class Verification:
    """What came of it.

    Args:
        results: of all hosts and tests.
        problems: wrong input, found on the way; the results of the rest stand all the same.
        printed: by pytest.
        code: the program's exit code.
    """

    results: list[Result] = field(default_factory=list)
    problems: list[ProvisionError] = field(default_factory=list)
    printed: str = ""
    code: int = 0


def verify_fleet(
    fleet: Fleet,
    hosts: Sequence[Host],
    reach: Reach,
    declarer: Declarer,
    *,
    forks: int = 10,
    arguments: Sequence[str] = (),
    interrupt: Interrupt | None = None,
    pretended: bool = False,
    from_here: bool = True,
) -> Verification:
    """Verify hosts.

    Args:
        fleet: with all hosts.
        hosts: these.
        reach: makes the connections.
        declarer: asks the roles.
        forks: hosts at once.
        arguments: for pytest.
        interrupt: what Ctrl-C does.
        pretended: the hosts' GPUs are, so that no model can be on them: a line says that this is not proved.
        from_here: this machine can try the hosts' ports, too; not those of twins on an engine elsewhere.
    """
    made = Verification()
    outcomes = list(
        each(hosts, lambda host: _verified(reach, declarer, host, pretended), forks=forks, interrupt=interrupt)
    )
    done = {one.host: one for one in outcomes}
    reached = {host.name: found for host in hosts if (found := done[host.name].value) is not None}
    tried = _ports(reached, forks, interrupt, hosts, from_here)
    for host in hosts:
        found, error = reached.get(host.name), done[host.name].error
        if found is not None:
            made.results += [*found.results, tried[host.name]]
        elif isinstance(error, HostError):
            made.results.append(lost(error))
        elif error is not None:
            made.problems.append(error)
    made.results.append(leaks(hosts))
    if find_tests(fleet) and not (interrupt and interrupt.presses):
        from provision.verify.own_tests import run_tests  # pytest: 0.1 s

        with interrupt.lifted() if interrupt else contextlib.nullcontext():
            own = run_tests(fleet, reached, arguments)
        made.results += own.results
        made.problems += own.problems
        made.printed = own.printed
    made.code = _code(outcomes, made, interrupt)
    return made


def lost(error: HostError) -> Result:
    """A host that could not be verified at all."""
    return Result(error.host, "reached", Verdict("failed", error.message))


def _code(outcomes: Sequence[Outcome[Verified]], made: Verification, interrupt: Interrupt | None) -> int:
    codes = {exit_code(outcomes, bool(interrupt and interrupt.presses)), *(one.exit_code for one in made.problems)}
    codes |= {1 for one in made.results if one.verdict.status == "failed" and one.check != "reached"}
    return next((code for code in (130, 3, 1, 4) if code in codes), 0)


def _verified(reach: Reach, declarer: Declarer, host: Host, pretended: bool) -> Verified:
    """Reach one host and make all checks that it alone can answer.

    Raises:
        HostError: it could not be reached, or a request had no answer.
        InputError: its roles refuse their settings.
    """
    reached = reach.supported(host.name)
    declared = declarer.declare(host, reached.identity)
    view = declarer.view(host, reached.identity)
    seen = replace(view, identity=replace(view.identity, gpus=())) if pretended else view
    results, listening = verify(reached.session, declared, checks_of(host, declared, seen, declarer.fleet.path))
    if pretended and accelerators.computing(view.identity, {}):
        results.append(Result(host.name, "gpu", NOT_PROVED))
    doors = doors_of(host, view, declarer, listening)
    return Verified(reached.session, reached.identity, declared, tuple(results), doors)


def doors_of(host: Host, view: HostView, declarer: Declarer, listening: Section) -> Doors:
    """What may answer on a host, and what listens there by its own answer.

    Raises:
        HostError: that answer cannot be understood.
        InputError: a role cannot tell its ports.
    """
    declared = tuple(port for role in host.roles for port in declarer.ports(view, role))
    address = host.address or view.identity.address
    try:
        return Doors(address, declared, ports.listening(listening), ports.published(listening))
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(host.name, f"what Docker publishes cannot be understood: {error}") from error


def _ports(
    reached: Mapping[str, Verified],
    forks: int,
    interrupt: Interrupt | None,
    hosts: Sequence[Host],
    from_here: bool,
) -> dict[str, Result]:
    """Try the ports of all hosts from here and from each other."""
    doors = {name: found.doors for name, found in reached.items()}
    knocks: dict[str, list[Knock]] = {
        name: ports.knock(found.address, found.ports) if from_here and not _is_here(found.address) else []
        for name, found in doors.items()
    }
    sources = [host for host in hosts if host.name in reached] if len(reached) > 1 else []
    for outcome in each(sources, lambda host: _knocks(host.name, reached), forks=forks, interrupt=interrupt):
        # A host that is lost by now tries nothing; its own checks were made before.
        for name, found in (outcome.value or {}).items():
            knocks[name] += found
    return {name: Result(name, ports.NAME, ports.judge(found, knocks[name])) for name, found in doors.items()}


def _knocks(source: str, reached: Mapping[str, Verified]) -> dict[str, list[Knock]]:
    """What a host finds when it tries the others: host -> knocks.

    Raises:
        HostError: it does not answer.
    """
    me = reached[source]
    others = {name: one.doors for name, one in reached.items() if one.doors.address not in ("", me.doors.address)}
    answer = me.session.run(ports.script({one.address: one.ports for one in others.values()}), timeout=300)
    found = ports.parse(answer.text, source, me.doors.address)
    return {name: found.get(one.address, []) for name, one in others.items()}


def _is_here(address: str) -> bool:
    """Whether connecting to an address would not leave this machine, so that it says nothing about others."""
    if not address:
        return True
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return bool(probe.getsockname()[0] == probe.getpeername()[0])
    except OSError:
        return False


def leaks(hosts: Iterable[Host]) -> Result:
    """No secret of these hosts stands in the logs of our own runs: they are masked, and this is the proof."""
    values = {secret.reveal() for host in hosts for secret in secrets_in(host.settings)}
    long = [value for value in values if len(value) >= _SHORTEST]
    logs = sorted(log_folder().glob("*.jsonl"))[-_LOGS:]
    found = [file.name for file in logs if any(value in file.read_text(errors="replace") for value in long)]
    text = [f"a secret stands in {', '.join(found)} below {log_folder()}"] if found else []
    return Result(FLEET, "our own log", Verdict.of(text, f"{len(logs)} files"))
