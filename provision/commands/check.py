"""`provision check`: read the inventory and say every mistake; no host is contacted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from provision.commands.options import as_json, inventory, verbose


@click.command()
@inventory
@verbose
@as_json
def check(inventory: Path | None, verbose: int, as_json: bool) -> int:
    """Read the inventory and say every mistake with its place. No host is contacted, no secret's command is run."""
    from provision.engine.declare import mistakes
    from provision.errors import InputError
    from provision.inventory import load
    from provision.inventory.locate import find_inventory
    from provision.roles import RoleSchemas
    from provision.twin.settings import OVERLAY

    path = find_inventory(inventory)
    answer: dict[str, Any] = {"inventory": str(path), "hosts": 0, "groups": 0, "mistakes": [], "warnings": []}
    try:
        fleet = load(path, RoleSchemas(path))
        found = mistakes(fleet)
        if any(OVERLAY.name in host.vars for host in fleet.hosts.values()):
            # What `twin test` will see: mistakes in what stands in for the rest.
            found += mistakes(load(path, RoleSchemas(path), overlay=OVERLAY))
        if found:
            raise InputError(found)
    except InputError as error:
        answer["mistakes"] = [asdict(mistake) for mistake in error.mistakes] or [{"message": str(error)}]
        count = len(answer["mistakes"])
        click.echo(json.dumps(answer) if as_json else f"{error}\n{path}: {_count(count, 'mistake')}")
        return error.exit_code
    groups = [name for name in fleet.groups if name not in ("all", "ungrouped")]
    warnings = [str(warning) for warning in fleet.warnings]
    warnings += [f"{host.name}: {warning}" for host in fleet.hosts.values() for warning in host.warnings]
    answer |= {"hosts": len(fleet.hosts), "groups": len(groups), "warnings": warnings}
    if as_json:
        click.echo(json.dumps(answer | {"foreign": [str(name) for name in fleet.foreign]}))
        return 0
    for warning in warnings:
        click.echo(f"warning: {warning}")
    if verbose:
        for name in fleet.foreign:
            click.echo(f"note: {name}")
        for host in fleet.hosts.values():
            where = host.connection.host if host.connection.kind == "ssh" else host.connection.kind
            click.echo(f"{host.name}  {where}  {' '.join(host.roles) or 'no roles'}")
    counts = f"{_count(len(fleet.hosts), 'host')}, {_count(len(groups), 'group')}, 0 mistakes"
    click.echo(f"{path}: {counts}")
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
