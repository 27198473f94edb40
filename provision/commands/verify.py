"""`provision verify`: prove that the hosts are what the inventory says."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import as_json, ask_become_pass, ask_pass, forks, inventory, pattern, shard

if TYPE_CHECKING:
    from provision.commands.reaching import Options
    from provision.engine.reach import Reach
    from provision.inventory.fleet import Fleet, Host
    from provision.verify.check import Result
    from provision.verify.run import Verification


@click.command()
@pattern
@click.argument("arguments", nargs=-1, metavar="[-- PYTEST OPTIONS]", help="For the fleet's own tests.")
@inventory
@click.option("--junit", metavar="FILE", type=Path, help="Write the results as JUnit XML.")
@click.option(
    "--perf",
    is_flag=True,
    help="Show the speed of every model, the slowest first, and its change since the last time.",
)
@forks(10)
@shard
@ask_pass
@ask_become_pass
@as_json
def verify(
    pattern: str,
    arguments: tuple[str, ...],
    inventory: Path | None,
    junit: Path | None,
    perf: bool,
    forks: int,
    shard: str | None,
    ask_pass: bool,
    ask_become_pass: bool,
    as_json: bool,
) -> int:
    """Check hosts against the inventory, generate with every model, and run the fleet's own tests. Changes nothing."""
    from provision.commands.reaching import Options, reaching
    from provision.verify.arguments import is_file, refuse

    words = list(arguments)
    if pattern.startswith("-") or is_file(pattern):
        # Everything stood after `--`: no pattern looks so.
        pattern, words = "all", [pattern, *words]
    options = Options(
        "verify",
        inventory,
        pattern,
        as_json,
        ask_pass=ask_pass,
        ask_become_pass=ask_become_pass,
        forks=forks,
        shard=shard,
    )
    with reaching(options) as (fleet, hosts, reach):
        from provision.cli import complain
        from provision.engine.mask import masked
        from provision.report import files
        from provision.report.reporters import state_folder
        from provision.verify import report
        from provision.verify.history import History

        refuse(fleet, words)
        files.writable("--junit", junit)
        made = verify_hosts(fleet, hosts, reach, options, words)
    history = History(state_folder() / "speeds.json", fleet.path)
    show(made.results, options, made.printed if words else "")
    if perf and not as_json:
        click.echo("\n".join(report.speeds(made.results, history.read())))
    history.write(made.results)
    if junit is not None:
        files.write("--junit", junit, masked(report.junit(made.results)))
    for problem in made.problems:
        complain(problem)
    return made.code


def verify_hosts(
    fleet: "Fleet",
    hosts: "Sequence[Host]",
    reach: "Reach",
    options: "Options",
    arguments: "Sequence[str]",
    pretended: bool = False,
    from_here: bool = True,
) -> "Verification":
    """Verify hosts of a fleet that was read.

    Args:
        fleet: with all hosts.
        hosts: these.
        reach: their connections; closed at the second Ctrl-C.
        options: of the command line.
        arguments: for pytest.
        pretended: the hosts' GPUs are.
        from_here: this machine can try the hosts' ports, too.
    """
    from provision.commands.running import say_interrupted
    from provision.engine.declare import Declarer
    from provision.engine.fleet import Interrupt
    from provision.verify.run import verify_fleet

    with Interrupt(lambda: say_interrupted(options), reach.close).installed() as interrupt:
        return verify_fleet(
            fleet,
            hosts,
            reach,
            Declarer(fleet, reach),
            forks=options.forks,
            arguments=arguments,
            interrupt=interrupt,
            pretended=pretended,
            from_here=from_here,
        )


def show(results: "Sequence[Result]", options: "Options", printed: str = "") -> None:
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
        lines += ["", printed.rstrip()] if printed else []
    print(masked("\n".join(lines)))
