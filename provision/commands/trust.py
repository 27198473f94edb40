"""`provision trust`: show the key that a host offers, and write it into known_hosts when it is the right one."""

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import as_json, inventory

if TYPE_CHECKING:
    from provision.host.ssh import Judge
    from provision.host.target import Target


@click.command()
@click.argument("hosts", nargs=-1, required=True, help="Which hosts: names or patterns of the inventory.")
@inventory
@click.option("-y", "--yes", is_flag=True, help="Accept every key that is not known yet, without asking.")
@click.option("--fingerprint", metavar="SHA256:...", help="Accept only the key with this fingerprint.")
@as_json
def trust(
    hosts: tuple[str, ...],
    inventory: Path | None,
    yes: bool,
    fingerprint: str | None,
    as_json: bool,
) -> int:
    """Show the host keys of these hosts, ask, and write them to known_hosts. A key that has changed is refused."""
    from provision.cli import complain
    from provision.engine.reach import target_of
    from provision.errors import HostError
    from provision.inventory import load
    from provision.inventory.locate import find_inventory
    from provision.roles import RoleSchemas

    path = find_inventory(inventory)
    fleet = load(path, RoleSchemas(path), need_secrets=False)
    found = {host.name: host for pattern in hosts for host in fleet.match(pattern)}
    codes = set()
    for host in found.values():
        try:
            codes.add(_trust(target_of(host), yes, fingerprint, as_json))
        except HostError as error:
            complain(error)
            codes.add(error.exit_code)
    return 1 if 1 in codes else max(codes, default=0)


def _trust(target: "Target", yes: bool, fingerprint: str | None, as_json: bool) -> int:
    if target.kind != "ssh":
        _say(as_json, target.name, f"reached by {target.kind}: there is no host key", added=False)
        return 0
    from provision.host.ssh import dial

    with contextlib.ExitStack() as undo:
        dial(target, _judge(target, yes, fingerprint, as_json), undo, login=False)
    return 0


def _judge(target: "Target", yes: bool, wanted: str | None, as_json: bool) -> "Judge":
    """Known keys pass; an unknown one is shown, asked about and written down. Bastions on the way are judged alike."""
    import paramiko

    from provision.errors import HostError
    from provision.host.hostkeys import KnownHosts, fingerprint
    from provision.host.ssh import refusal
    from provision.host.sshconfig import Route

    def judge(hop: Route, known: KnownHosts, key: paramiko.PKey) -> None:
        verdict = known.judge(key.get_name(), key.asbytes())
        offered = fingerprint(key.asbytes())
        final = hop.label == target.name
        if verdict.word in ("changed", "revoked"):
            raise refusal(target.name, hop, known, key, verdict)
        if final and wanted is not None and wanted != offered:
            raise HostError(target.name, f"{known.name} offers {key.get_name()} {offered}, not {wanted}")
        if verdict.word == "known":
            if final:
                _say(as_json, target.name, f"{known.name} {key.get_name()} {offered} is trusted already", added=False)
            return
        if not (yes or (final and wanted == offered)):
            _ask(target.name, f"{known.name} offers {key.get_name()} {offered}")
        try:
            file = known.add(key.get_name(), key.asbytes())
        except OSError as error:
            raise HostError(target.name, f"cannot write {known.files[0]}: {error.strerror}") from error
        _say(as_json, target.name, f"{known.name} {key.get_name()} {offered} added to {file}", added=True)

    def _ask(name: str, offer: str) -> None:
        if not sys.stdin.isatty():
            hint = "compare it, then use --fingerprint SHA256:... (or --yes)"
            raise HostError(name, f"{offer}; nobody is here to ask", hint)
        click.echo(f"{name}: {offer}", err=True)
        if not click.confirm("Is this what `ssh-keygen -lf` says on the host? Trust it", err=True):
            raise HostError(name, "not trusted")

    return judge


def _say(as_json: bool, host: str, text: str, *, added: bool) -> None:
    click.echo(json.dumps({"host": host, "added": added, "message": text}) if as_json else f"{host}: {text}")
