"""An inventory's fleet with its hosts replaced by their twins. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from provision.inventory.fleet import Connection, Fleet, Host
from provision.twin import names
from provision.twin.folder import Folder
from provision.twin.hosts import TwinHost
from provision.twin.settings import TwinSettings


def settings_of(host: Host) -> TwinSettings:
    """`twin:` of a host whose inventory was read with the overlay."""
    found = host.settings.get("twin")
    return found if isinstance(found, TwinSettings) else TwinSettings()


def twinned(fleet: Fleet, twins: Iterable[TwinHost], folder: Folder, artifacts: Path | None = None) -> Fleet:
    """The same fleet, reached at its twins. Hosts without a twin are not in it.

    Args:
        fleet: as the inventory says, read with the overlay.
        twins: running.
        folder: of the twin.
        artifacts: in place of every host's `artifacts`.
    """
    running = {twin.name: twin for twin in twins}
    hosts = {
        name: replace(
            host,
            connection=_connection(running[name], folder),
            address=running[name].address,
            artifacts=artifacts or host.artifacts,
            vars=MappingProxyType({key: value for key, value in host.vars.items() if not key.startswith("ansible_")}),
        )
        for name, host in fleet.hosts.items()
        if name in running
    }
    groups = {group: tuple(name for name in members if name in hosts) for group, members in fleet.groups.items()}
    return replace(fleet, hosts=MappingProxyType(hosts), groups=MappingProxyType(groups))


def _connection(twin: TwinHost, folder: Folder) -> Connection:
    return Connection(
        kind="ssh",
        host=twin.at,
        port=twin.port,
        user=names.USER,
        private_key=folder.key,
        become=True,
        config_file=folder.config,
        options=(f"UserKnownHostsFile={folder.known_hosts}", "IdentitiesOnly=yes"),
    )


def replaced(fleet: Fleet) -> dict[str, object]:
    """What stands in for what the inventory says: host -> its `twin` settings, where there are any. For the proof."""
    found: dict[str, object] = {}
    for name, host in fleet.hosts.items():
        if said := settings_of(host).model_dump(exclude_defaults=True):
            found[name] = said
    return found
