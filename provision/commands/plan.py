"""`provision plan`: what would change."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import (
    as_json,
    ask_become_pass,
    ask_pass,
    diff,
    forks,
    inventory,
    pattern,
    roles,
    shard,
    skip_preflight,
    verbose,
)

if TYPE_CHECKING:
    from provision.commands.running import Running
    from provision.engine.plan import Plan


@click.command()
@pattern
@inventory
@diff
@click.option("--exit-code", is_flag=True, help="Exit with 2 when something would change.")
@click.option("-o", "--out", metavar="FILE", type=Path, help="Keep the plan in a file for `apply FILE`.")
@click.option("--preflight", is_flag=True, help="Say only whether the hosts can do what is declared, all of it.")
@skip_preflight
@roles
@forks(10)
@shard
@ask_pass
@ask_become_pass
@verbose
@as_json
def plan(
    pattern: str,
    inventory: Path | None,
    diff: bool,
    exit_code: bool,
    out: Path | None,
    preflight: bool,
    skip_preflight: bool,
    roles: str | None,
    forks: int,
    shard: str | None,
    ask_pass: bool,
    ask_become_pass: bool,
    verbose: int,
    as_json: bool,
) -> int:
    """Show what `apply` would change, why, and how much it would download. Nothing is touched."""
    from provision.commands.reaching import Options, reaching, split
    from provision.engine.planfile import PlanFile
    from provision.errors import InputError

    if preflight and (skip_preflight or out or exit_code):
        raise InputError("--preflight makes no plan: it goes with none of --skip-preflight, --out, --exit-code")
    options = Options(
        "plan", inventory, pattern, as_json, verbose, ask_pass, ask_become_pass, forks, split(roles),
        diff=diff, skip_preflight=skip_preflight, shard=shard,
    )  # fmt: skip
    with reaching(options) as reached:
        from provision.commands.running import running

        with running(options, *reached) as run:
            plans = plan_all(run, only_preflight=preflight)
            code = run.end(pending=exit_code and any(made.changes for made in plans))
            if out is not None:
                if len(plans) < len(run.hosts):
                    raise InputError(f"{out} is not written: not every host could be planned")
                PlanFile.of(run.fleet, options.roles, plans).write(out)
    return code


def plan_all(run: "Running", *, only_preflight: bool = False) -> "list[Plan]":
    """The plans of all hosts of a run that could be planned.

    Args:
        run: its reporters get the plans, and what preflight says of them.
        only_preflight: show no plans, but look at everything that is declared.
    """
    from provision.engine.events import HostPlanned
    from provision.engine.fleet import Outcome
    from provision.engine.plan import Plan, make_plan
    from provision.inventory.fleet import Host

    def work(host: Host) -> Plan:
        reached = run.reach.supported(host.name)
        made = make_plan(reached.session, run.declarer.declare(host, reached.identity))
        if not only_preflight:
            run.emit(
                HostPlanned(
                    host=host.name,
                    changes=made.changes,
                    unchanged=made.unchanged,
                    no_longer_declared=made.gone,
                    notes=(*host.warnings, *made.remarks),
                )
            )
        run.preflight(host, reached, made, everything=only_preflight)
        return made

    def counts(outcome: Outcome[Plan]) -> tuple[int, int]:
        return (0, outcome.value.unchanged) if outcome.value else (0, 0)

    run.each(work, counts)
    return [outcome.value for outcome in run.outcomes if outcome.value]
