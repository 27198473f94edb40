"""Container twins of an inventory's hosts: the fleet that will be provisioned, made and tested on this machine."""

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import as_json, forks, inventory, pattern, verbose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.commands.reaching import Options
    from provision.inventory.fleet import Fleet, Host
    from provision.twin.folder import Folder
    from provision.twin.hosts import Twin
    from provision.twin.proof import Proof

artifacts = click.option(
    "--artifacts",
    metavar="DIR",
    type=Path,
    envvar="PROVISION_ARTIFACTS",
    show_envvar=True,
    help="Releases, images and models, in place of the inventory's `artifacts`.",
)


class _InOrder(click.Group):
    """Lists its words as they stand here; click's own groups list them by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, help=__doc__)
def twin() -> None:
    """Words of its own: `twin up`."""


@twin.command()
@pattern
@inventory
@artifacts
def up(pattern: str, inventory: Path | None, artifacts: Path | None) -> int:
    """Start a container for every host, and say how each is reached. What runs already stays."""
    from provision.commands.reaching import Options

    made, _, hosts = begin(Options("twin-up", inventory, pattern), artifacts)
    for host in hosts:
        click.echo(f"{host.name}  ssh port {host.connection.port}  address {host.address}")
    click.echo(f"log in: provision twin ssh NAME · the same inventory: {made.inventory}")
    return 0


@twin.command()
@pattern
@inventory
@artifacts
@click.option("--junit", metavar="FILE", type=Path, help="Write the checks as JUnit XML.")
@click.option("--proof", metavar="FILE", type=Path, help="Write all that was tested and found as JSON.")
@click.option("--keep", is_flag=True, help="Leave the twin running.")
@forks(4)
@verbose
def test(
    pattern: str,
    inventory: Path | None,
    artifacts: Path | None,
    junit: Path | None,
    proof: Path | None,
    keep: bool,
    forks: int,
    verbose: int,
) -> int:
    """Make the twin, apply, see that nothing is left to do, verify, apply again without a change, remove the twin."""
    from provision.commands.reaching import Options
    from provision.engine.mask import masked
    from provision.errors import ProvisionError
    from provision.inventory.locate import find_inventory
    from provision.report import files
    from provision.twin.hosts import Twin, engine
    from provision.twin.proof import Proof
    from provision.verify.report import junit as as_junit

    files.writable("--proof", proof)
    files.writable("--junit", junit)
    path = find_inventory(inventory)
    found = Proof(str(path))
    options = Options("twin-test", path, pattern, verbose=verbose, forks=forks, show_plan=False)
    code = 1
    try:
        code = steps(options, artifacts, found)
    except ProvisionError as error:
        found.problems.append(str(error))
        raise
    finally:
        try:
            if not keep:
                remove(Twin(engine(), path))
        finally:
            if proof is not None:
                files.write("--proof", proof, masked(found.text()))
            if junit is not None:
                files.write("--junit", junit, masked(as_junit(found.checks or ())))
    click.echo(f"twin test: {'passed' if found.passed else 'FAILED'}")
    for problem in found.problems:
        click.echo(masked(f"  {problem}"))
    return code or (0 if found.passed else 1)


@twin.command()
@inventory
@click.option("--all", "everything", is_flag=True, help="The twins of all inventories.")
def down(inventory: Path | None, everything: bool) -> int:
    """Remove the twin: containers, volumes, network, its key. Nothing that does not carry its label."""
    from provision.inventory.locate import find_inventory
    from provision.twin.hosts import Twin, engine, twins

    client = engine()
    known = [Path(path) for path in twins(client)]
    # One whose file is gone still names its twin.
    gone = inventory is not None and not inventory.exists() and inventory.resolve() in known
    paths = known if everything else [inventory if inventory is not None and gone else find_inventory(inventory)]
    for path in paths:
        click.echo(f"{path}: removed {remove(Twin(client, path))} objects")
    return 0


@twin.command("list")
@click.option("-i", "--inventory", type=Path, help="Only the twin of this inventory.")
@as_json
def list_twins(inventory: Path | None, as_json: bool) -> int:
    """Show the twins of this machine."""
    import json
    from dataclasses import asdict

    from provision.inventory.locate import find_inventory
    from provision.twin.hosts import engine, twins

    only = str(find_inventory(inventory).resolve()) if inventory is not None else ""
    for path, hosts in twins(engine()).items():
        if only and path != only:
            continue
        if as_json:
            click.echo(json.dumps({"inventory": path, "hosts": [asdict(host) for host in hosts]}))
            continue
        click.echo(path)
        for host in sorted(hosts, key=lambda host: host.name):
            where = f"port {host.port}  {host.address}" if host.status == "running" else host.status
            click.echo(f"  {host.name}  {where}  {host.image}")
    return 0


@twin.command()
@click.argument("name", help="The host's name in the inventory.")
@click.argument("command", nargs=-1, help="A command in place of a shell.")
@inventory
def ssh(name: str, command: tuple[str, ...], inventory: Path | None) -> int:
    """Log in to a host of the twin."""
    import os

    from provision.errors import InputError
    from provision.inventory.locate import find_inventory
    from provision.inventory.names import did_you_mean
    from provision.twin.hosts import Twin, engine
    from provision.twin.names import USER

    twin = Twin(engine(), find_inventory(inventory))
    hosts = {host.name: host for host in twin.hosts() if host.status == "running"}
    if name not in hosts:
        raise InputError(f"no twin of {name!r} runs{did_you_mean(name, hosts)}", "start it with `provision twin up`")
    folder = folder_of(twin)
    known = f"UserKnownHostsFile={folder.known_hosts}"
    words = ["ssh", "-F", str(folder.config), "-i", str(folder.key), "-o", known, "-o", "IdentitiesOnly=yes"]
    try:
        os.execvp("ssh", [*words, "-p", str(hosts[name].port), f"{USER}@{hosts[name].at}", *command])
    except OSError as error:
        raise InputError(f"ssh cannot be run: {error.strerror}", "install the OpenSSH client") from error


def begin(options: "Options", artifacts: Path | None) -> "tuple[Twin, Fleet, tuple[Host, ...]]":
    """Make the twin of an inventory; gives it, the fleet that is reached there, and the hosts that are meant.

    Hosts whose services those use are meant as well: without its backends a web server cannot be tested.
    """
    from provision.commands.reaching import meant
    from provision.engine.order import with_needed
    from provision.errors import InputError
    from provision.inventory import load
    from provision.inventory.locate import find_inventory
    from provision.roles import RoleSchemas
    from provision.twin import fleet as twin_fleet
    from provision.twin import gpus, images
    from provision.twin.hosts import Material, Twin, engine
    from provision.twin.settings import OVERLAY

    if artifacts is not None and not artifacts.is_dir():
        raise InputError(f"--artifacts: {artifacts} is no folder")
    path = find_inventory(options.inventory)
    fleet = load(path, RoleSchemas(path), overlay=OVERLAY)
    chosen = with_needed(fleet, meant(fleet, options))
    client = engine()
    made = Twin(client, path)
    wanted = {host.name: twin_fleet.settings_of(host) for host in chosen}
    tags = {
        image: images.ensure(client, image, click.echo) for image in dict.fromkeys(w.image for w in wanted.values())
    }
    made_of = {name: Material(tags[w.image], gpus.overlay(w.gpu) if w.gpu else b"") for name, w in wanted.items()}
    folder = folder_of(made)
    made.up(made_of, fleet.hosts, folder.make(), click.echo)
    running = [host for host in made.hosts() if host.status == "running"]
    folder.known_hosts.write_text("".join(made.host_key(host) for host in running))
    twins = twin_fleet.twinned(fleet, running, folder, artifacts.resolve() if artifacts else None)
    return made, twins, tuple(twins.hosts[host.name] for host in chosen)


def remove(made: "Twin") -> int:
    """Take a twin away, with its key; gives how many docker objects it had."""
    import shutil

    removed = made.down()
    shutil.rmtree(folder_of(made).path, ignore_errors=True)
    return removed


def folder_of(made: "Twin") -> "Folder":
    """Where this machine keeps a twin's key."""
    from provision.report.reporters import state_folder
    from provision.twin.folder import Folder

    return Folder(state_folder() / "twins" / made.id)


def steps(options: "Options", artifacts: Path | None, proof: "Proof") -> int:
    """All steps of a test; what they find goes into `proof`. Gives an exit code, 0 also when a check failed."""
    from dataclasses import replace
    from importlib.metadata import version

    from provision.commands.apply import apply_all
    from provision.commands.plan import plan_all
    from provision.commands.reaching import known
    from provision.commands.running import running
    from provision.commands.verify import show, verify_hosts
    from provision.engine.planfile import input_digests
    from provision.twin import fleet as twin_fleet
    from provision.twin.hosts import near
    from provision.twin.proof import digests

    with taking("up", proof):
        made, fleet, hosts = begin(options, artifacts)
    options = replace(options, pattern=",".join(host.name for host in hosts))
    proof.inputs = input_digests(fleet)
    proof.replaced = twin_fleet.replaced(fleet)
    proof.versions = {"provision": version("provision"), "docker": str(made.client.version()["Version"])}
    proof.hosts = made.images()
    with taking("apply", proof), known(fleet, options) as reached, running(options, *reached) as run:
        proof.first = {name: done.changed for name, done in apply_all(run).items()}
        if code := run.end():
            return failed(code, "apply", proof)
    with taking("plan", proof), known(fleet, options) as reached, running(options, *reached) as run:
        plans = plan_all(run)
        proof.left = {plan.host: plan.changes for plan in plans}
        proof.digests = {plan.host: digests(plan) for plan in plans}
        if code := run.end():
            return failed(code, "plan", proof)
    with taking("verify", proof):
        with known(fleet, options) as (_, _, reach):
            found = verify_hosts(fleet, hosts, reach, options, (), pretended=True, from_here=near(made.hosts()))
        show(found.results, options)
        proof.checks = found.results
        proof.problems += [str(problem) for problem in found.problems]
        if found.code in (3, 130):
            # Wrong input, such as a test that cannot be read, or Ctrl-C.
            return found.code
    with taking("apply again", proof), known(fleet, options) as reached, running(options, *reached) as run:
        proof.second = {name: done.changed for name, done in apply_all(run).items()}
        return failed(code, "the second apply", proof) if (code := run.end()) else 0


def failed(code: int, step: str, proof: "Proof") -> int:
    """The code of a step that failed, which is the test's."""
    proof.problems.append(f"{step} failed: see above")
    return code


@contextmanager
def taking(step: str, proof: "Proof") -> "Iterator[None]":
    """A headline, and how long the step took."""
    began = time.monotonic()
    click.echo(f"== {step}")
    try:
        yield
    finally:
        proof.seconds[step] = time.monotonic() - began
