"""`provision schema`: the JSON Schema of inventories."""

import json
from pathlib import Path

import click

from provision.commands.options import inventory


@click.command()
@inventory
def schema(inventory: Path | None) -> None:
    """Print the JSON Schema of an inventory, for editors. With an inventory, its fleet's own roles are in it."""
    from provision.errors import InputError
    from provision.inventory.locate import find_inventory
    from provision.inventory.schema import inventory_schema
    from provision.roles import RoleSchemas

    try:
        path = find_inventory(inventory)
    except InputError:
        # The built-in roles need no inventory.
        if inventory is not None:
            raise
        path = None
    click.echo(json.dumps(inventory_schema(RoleSchemas(path)), indent=2))
