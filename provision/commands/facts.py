"""`provision facts`: what the hosts are, and how they are now."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import as_json, ask_become_pass, ask_pass, forks, inventory, pattern

if TYPE_CHECKING:
    from provision.engine.fleet import Outcome
    from provision.engine.reach import Reach
    from provision.facts.model import Facts
    from provision.inventory.fleet import Host

TIMEOUT = 60.0
"""Seconds for one host's probe. It bounds its own slow parts: 10 s for a driver that hangs, 10 s for a dead mount."""


@click.command()
@pattern
@inventory
@as_json
@ask_pass
@ask_become_pass
@forks(10)
def facts(
    pattern: str,
    inventory: Path | None,
    as_json: bool,
    ask_pass: bool,
    ask_become_pass: bool,
    forks: int,
) -> int:
    """Show what the hosts are: system, CPU, memory, GPUs, disks, Docker, Ollama. Nothing on them is changed."""
    from provision.commands.reaching import Options, prompted
    from provision.engine.fleet import each, exit_code
    from provision.engine.reach import Reach
    from provision.inventory import load
    from provision.inventory.locate import find_inventory
    from provision.roles import RoleSchemas

    path = find_inventory(inventory)
    # The secrets of roles are of no use here; those of a connection are missed when it is made.
    fleet = load(path, RoleSchemas(path), need_secrets=False)
    hosts = fleet.match(pattern)
    typed = prompted(Options("facts", ask_pass=ask_pass, ask_become_pass=ask_become_pass))
    reach = Reach(fleet, *typed)
    done = {outcome.host: outcome for outcome in each(hosts, lambda host: gather(reach, host), forks=forks)}
    outcomes = [done[host.name] for host in hosts]
    if as_json:
        _print_json(outcomes)
    else:
        _print_table(outcomes)
    return exit_code(outcomes)


def gather(reach: "Reach", host: "Host") -> "Facts":
    """Log in to one host and ask it everything, in one request.

    Raises:
        HostError: it could not be reached, or the probe did not come to its end.
    """
    from provision.errors import HostError
    from provision.facts import parse, script
    from provision.host.connect import connect
    from provision.host.session import closing
    from provision.values import printable

    session = connect(reach.target(host))
    with closing(session.close):
        answer = session.run(script(True, _models(host)), timeout=TIMEOUT)
    found = parse(answer.out)
    if not found.complete:
        raise HostError(host.name, f"the probe did not come to its end: {printable(answer.complaint, 300)}")
    return found


def _models(host: "Host") -> tuple[str, ...]:
    """The directory of the host's models, when its settings name one."""
    path = str(getattr(host.settings.get("ollama"), "models_dir", None) or "")
    return (path,) if path.startswith("/") else ()


def _print_json(outcomes: "Sequence[Outcome[Facts]]") -> None:
    from provision.engine.mask import masked
    from provision.facts.show import as_json

    for outcome in outcomes:
        print(as_json(outcome.host, outcome.value or masked(str(outcome.error))))


def _print_table(outcomes: "Sequence[Outcome[Facts]]") -> None:
    from provision.engine.mask import masked
    from provision.facts.show import plain, remarks, row

    rows = [row(outcome.host, outcome.value) for outcome in outcomes if outcome.value]
    if rows and sys.stdout.isatty():
        _draw(rows)
    elif rows:
        print(plain(rows))
    for outcome in outcomes:
        if outcome.value:
            for remark in remarks(outcome.host, outcome.value):
                print(remark)
    sys.stdout.flush()
    for outcome in outcomes:
        if outcome.error:
            print(masked(str(outcome.error)), file=sys.stderr)


def _draw(rows: list[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from provision.facts.show import COLUMNS

    table = Table(*COLUMNS, box=SIMPLE_HEAD, show_lines=len(rows) > 1, pad_edge=False)
    for cells in rows:
        # Text, not str: a host's words are no markup.
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
