"""Options that several commands have, spelled once: a decorator gives a command's function the argument of its name.

A path is `Path`, not `click.Path`, which looks at the file: what is wrong with one is said by who uses it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click


class HostCount(click.IntRange):
    """A number of hosts, as messages call it; click says "integer range"."""

    name = "number of hosts"


Function = TypeVar("Function", bound=Callable[..., int | None])

pattern = click.argument(
    "pattern",
    default="all",
    help="Which hosts: Ansible's pattern, such as `gpu`, `gpu:!gpu03`, `web*`. Default: all.",
)
inventory = click.option(
    "-i",
    "--inventory",
    type=Path,
    envvar="PROVISION_INVENTORY",
    show_envvar=True,
    help="Inventory file or directory. Default: inventory/ or inventory.yml of this directory.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output: JSON, one object a line.")
verbose = click.option("-v", "--verbose", count=True, help="Say more; twice: even more.")
ask_pass = click.option("-k", "--ask-pass", is_flag=True, help="Ask for the SSH password.")
ask_become_pass = click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for the sudo or su password.")
shard = click.option(
    "--shard",
    metavar="K/N",
    help="Only part K of N of these hosts, by their names: for N runners that share a large fleet.",
)
roles = click.option("--roles", metavar="NAMES", help="Only these of the hosts' roles, separated by commas.")
skip_preflight = click.option(
    "--skip-preflight", is_flag=True, help="Do not look whether models, disks, ports and sources suffice."
)
diff = click.option("--diff", is_flag=True, help="Show how files change, line by line.")


def forks(default: int) -> Callable[[Function], Function]:
    """`--forks`, whose default is this many hosts."""
    return click.option(
        "--forks",
        metavar="N",
        type=HostCount(min=1),
        default=default,
        show_default=True,
        help="How many hosts are worked on at once.",
    )
