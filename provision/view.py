"""What a role may see of the world when it declares: values only."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from provision.dataclass import dataclass
from provision.facts.model import Identity


@dataclass(frozen=True)
class Peer:
    """Another host of the fleet: its name, the address its peers reach it at, and its role settings by role name."""

    name: str
    address: str
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class OpenPort:
    """A TCP port of a host that answers others, or must not.

    A role that lets others in has `ports(host, want)`, which gives these; `verify` tries them.

    Args:
        port: of the host.
        sources: addresses and networks that get an answer; None: everybody; empty: nobody.
        why: the setting that says so, for messages: `ollama.listen is loopback`.
    """

    port: int
    sources: tuple[str, ...] | None
    why: str


@dataclass(frozen=True)
class HostView:
    """A host as `declare(host, want)` sees it.

    Args:
        name: inventory name.
        identity: facts that stay the same between runs.
        roles: the host's roles in order.
        settings: validated settings of all its roles, by role name.
        vars: the host's own variables (Ansible's layer).
        render: `render("ollama/ollama.service.j2", **variables)` -> text, from the fleet's templates first.
        find: a local file by a name relative to the inventory or the template folders; None when there is none.
        peers: `peers("inference")` -> the hosts of a group, or the one host of that name.
        artifacts: the directory of the control machine with files for sites without internet, or None.
    """

    name: str
    identity: Identity
    roles: tuple[str, ...]
    settings: Mapping[str, Any] = field(repr=False)
    vars: Mapping[str, Any] = field(repr=False)
    render: Callable[..., str] = field(repr=False)
    find: Callable[[str], Path | None] = field(repr=False)
    peers: Callable[[str], tuple[Peer, ...]] = field(repr=False)
    artifacts: Path | None = None

    def visitors(self, names: Iterable[str], networks: Iterable[str]) -> tuple[str, ...]:
        """Addresses of these hosts and groups, and networks: who may reach a port. The host itself needs no leave."""
        others = {peer.address for name in names for peer in self.peers(name) if peer.name != self.name}
        return tuple(sorted(others.union(networks)))
