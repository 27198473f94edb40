"""`provision verify`: prove that the hosts are what the inventory says."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provision.commands.options import AskBecomePass, AskPass, Forks, Inventory, Json

if TYPE_CHECKING:
    from provision.commands.running import Options
    from provision.engine.declare import Declarer
    from provision.engine.reach import Reach
    from provision.inventory.fleet import Host
    from provision.verify.check import Result
    from provision.verify.host import Verified


def verify(
    pattern: Annotated[
        str, typer.Argument(help="Which hosts: Ansible's pattern, such as `gpu`, `gpu:!gpu03`, `web*`.")
    ] = "all",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- PYTEST OPTIONS]", help="For the fleet's own tests.")
    ] = None,
    inventory: Inventory = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the results as JUnit XML.")] = None,
    perf: Annotated[bool, typer.Option("--perf", help="Show the speed of every model, the slowest first.")] = False,
    forks: Forks = 10,
    ask_pass: AskPass = False,
    ask_become_pass: AskBecomePass = False,
    as_json: Json = False,
) -> int:
    """Check hosts against the inventory, generate with every model, and run the fleet's own tests. Changes nothing."""
    from provision.commands.running import Options, prompted, read_fleet
    from provision.engine.declare import Declarer
    from provision.engine.fleet import closing, each, exit_code
    from provision.engine.reach import Reach
    from provision.errors import HostError, InputError
    from provision.verify.own_tests import lost, run_tests

    words = list(arguments or ())
    if pattern.startswith("-"):
        # Everything stood after `--`: no pattern begins so.
        pattern, words = "all", [pattern, *words]
    options = Options("verify", inventory, pattern, as_json, ask_pass=ask_pass, ask_become_pass=ask_become_pass)
    fleet, hosts = read_fleet(options)
    reach = Reach(fleet, *prompted(options))
    declarer = Declarer(fleet, reach)
    with closing(reach.close):
        done = {one.host: one for one in each(hosts, lambda host: verified(reach, declarer, host), forks=forks)}
        outcomes = [done[host.name] for host in hosts]
        reached = {one.host: one.value for one in outcomes if one.value}
        results = [result for one in reached.values() for result in one.results]
        results += [lost(one.error) for one in outcomes if isinstance(one.error, HostError)]
        problems = [one.error for one in outcomes if one.error and not isinstance(one.error, HostError)]
        printed = ""
        try:
            own, printed = run_tests(fleet, reached, words)
            results += own
        except InputError as error:
            problems.append(error)
    show(results, options, perf, printed if words else "")
    if junit is not None:
        write_junit(junit, results)
    if problems:
        raise problems[0]
    codes = {exit_code(outcomes)} | {1 for one in results if one.verdict.status == "failed" and one.check != "reached"}
    return next((code for code in (130, 3, 1, 4) if code in codes), 0)


def verified(reach: "Reach", declarer: "Declarer", host: "Host") -> "Verified":
    """Reach one host and make all built-in checks.

    Raises:
        HostError: it could not be reached, or a request had no answer.
        InputError: its roles refuse their settings.
    """
    from provision.verify.checks import reach as ports
    from provision.verify.choose import checks_of
    from provision.verify.host import Verified
    from provision.verify.host import verify as ask_all

    reached = reach.supported(host.name)
    declared = declarer.declare(host, reached.identity)
    checks = checks_of(host, declared, declarer.view(host, reached.identity), declarer.fleet.path)
    known = {}
    ollama = host.settings["ollama"].model_dump() if "ollama" in host.roles else {}
    if ollama.get("listen") == "loopback":
        known[ports.NAME] = ports.closed(host.address or reached.identity.address, ollama["port"])
    return Verified(
        reached.session, reached.identity, declared, tuple(ask_all(reached.session, declared, checks, known))
    )


def show(results: "Sequence[Result]", options: "Options", perf: bool, printed: str) -> None:
    """Print what was found, and keep it in the log; secrets are masked."""
    import shutil
    import sys

    from provision.engine.mask import masked
    from provision.report.reporters import log_file, wants_color
    from provision.verify import report

    lines = [report.as_json(result) for result in results]
    log_file(options.command).write_text(masked("".join(f"{line}\n" for line in lines)))
    if not options.as_json:
        width = shutil.get_terminal_size((120, 24)).columns
        lines = [*report.table(results, width, wants_color(sys.stdout)), *report.messages(results)]
        lines += ["", *report.speeds(results)] if perf else []
        lines += ["", printed.rstrip()] if printed else []
    print(masked("\n".join(lines)))


def write_junit(path: Path, results: "Sequence[Result]") -> None:
    """Write the XML, masked.

    Raises:
        InputError: it cannot be written.
    """
    from provision.engine.mask import masked
    from provision.errors import InputError
    from provision.verify.report import junit

    try:
        path.write_text(masked(junit(results)))
    except OSError as error:
        raise InputError(f"--junit: {path} cannot be written: {error.strerror}") from error
