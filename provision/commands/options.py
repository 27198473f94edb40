"""Options that several commands have, spelled once."""

from pathlib import Path
from typing import Annotated

import typer

Pattern = Annotated[str, typer.Argument(help="Which hosts: Ansible's pattern, such as `gpu`, `gpu:!gpu03`, `web*`.")]
Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        envvar="PROVISION_INVENTORY",
        help="Inventory file or directory. Default: inventory/ or inventory.yml of this directory.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output: JSON, one object a line.")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more; twice: even more.")]
AskPass = Annotated[bool, typer.Option("-k", "--ask-pass", help="Ask for the SSH password.")]
AskBecomePass = Annotated[bool, typer.Option("-K", "--ask-become-pass", help="Ask for the sudo or su password.")]
Forks = Annotated[int, typer.Option("--forks", min=1, help="How many hosts are worked on at once.")]
Roles = Annotated[str | None, typer.Option("--roles", help="Only these of the hosts' roles, separated by commas.")]
SkipPreflight = Annotated[
    bool, typer.Option("--skip-preflight", help="Do not look whether models, disks, ports and sources suffice.")
]
Diff = Annotated[bool, typer.Option("--diff", help="Show how files change, line by line.")]
