"""`provision apply`: make it so, and prove it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import (
    HostCount,
    as_json,
    ask_become_pass,
    ask_pass,
    diff,
    forks,
    inventory,
    roles,
    shard,
    skip_preflight,
    verbose,
)

if TYPE_CHECKING:
    from provision.commands.running import Running
    from provision.engine.apply import Applied
    from provision.engine.planfile import PlanFile


@click.command()
@click.argument("pattern", default="all", help="Which hosts, or a file made by `plan -o`. Default: all.")
@inventory
@click.option(
    "--batch",
    metavar="SIZES",
    default="",
    help="Hosts at a time, such as `1,25%`: one first, then a quarter at a time. "
    "A batch of which every host failed is the last one.",
)
@click.option("--max-fail", metavar="N", type=HostCount(min=1), help="Start no more hosts when this many have failed.")
@diff
@skip_preflight
@roles
@forks(10)
@shard
@ask_pass
@ask_become_pass
@verbose
@as_json
def apply(
    pattern: str,
    inventory: Path | None,
    batch: str,
    max_fail: int | None,
    diff: bool,
    skip_preflight: bool,
    roles: str | None,
    forks: int,
    shard: str | None,
    ask_pass: bool,
    ask_become_pass: bool,
    verbose: int,
    as_json: bool,
) -> int:
    """Bring hosts to their declared state, then ask again to prove that nothing is left to change."""
    from provision.commands.reaching import Options, reaching, split

    agreed = None
    if is_plan_file(pattern):
        from provision.engine.planfile import PlanFile

        agreed = PlanFile.read(Path(pattern))
    chosen = split(roles)
    if agreed:
        pattern, inventory, chosen = ",".join(agreed.hosts), inventory or agreed.inventory, agreed.roles
    options = Options(
        "apply", inventory, pattern, as_json, verbose, ask_pass, ask_become_pass, forks, chosen,
        split(batch) or (), max_fail, diff, show_plan=diff or verbose > 0, skip_preflight=skip_preflight, shard=shard,
    )  # fmt: skip
    with reaching(options) as reached:
        from provision.commands.running import running

        with running(options, *reached) as run:
            if agreed:
                agreed.check_inputs(run.fleet)
            apply_all(run, agreed)
            return run.end()


def is_plan_file(text: str) -> bool:
    """Whether a command's argument names a plan file and not a host pattern."""
    path = Path(text)
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except (OSError, ValueError):
        return False


def apply_all(run: "Running", agreed: "PlanFile | None" = None) -> "dict[str, Applied]":
    """Apply to every host of a run.

    Args:
        run: its outcomes get one for each host.
        agreed: a host whose plan is another one is refused.

    Returns:
        What was done, also on hosts that ended with an error.
    """
    from provision.commands.running import owner
    from provision.engine.apply import Applied, HostApply
    from provision.engine.fleet import Outcome
    from provision.inventory.fleet import Host

    applied: dict[str, Applied] = {}

    def work(host: Host) -> Applied:
        reached = run.reach.supported(host.name)
        declared = run.declarer.declare(host, reached.identity)
        check = agreed.check if agreed else None
        job = HostApply(
            reached.session,
            declared,
            run.emit,
            run.interrupt.stop,
            owner(),
            check,
            lambda plan: run.preflight(host, run.reach.host(host.name), plan),
            # An agreed plan is all that is done: what a working driver brings along comes with the next one.
            None if agreed else lambda: run.declarer.declare(host, run.reach.anew(host.name).identity),
        )
        applied[host.name] = job.applied
        return job.run()

    def counts(outcome: Outcome[Applied]) -> tuple[int, int]:
        done = applied.get(outcome.host, Applied())
        return len(done.changed), done.unchanged

    run.each(work, counts)
    return applied
