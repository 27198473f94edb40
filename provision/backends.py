"""Servers of Ollama that a web server uses: where it reaches them, and which models their hosts declare."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.view import HostView

HOST_OF_BRIDGE = "host.docker.internal"
"""The host, as a container with a network of its own names it."""

_PORT = 11434


@dataclass(frozen=True)
class Backend:
    """A server of Ollama.

    Args:
        url: as the web server reaches it.
        host: its name in the inventory, "" when it is not there.
        models: names that are declared for it, as Open WebUI lists them.
    """

    url: str
    host: str = ""
    models: tuple[str, ...] = ()


def used(host: HostView, names: Sequence[str], urls: Sequence[str], bridge: bool) -> tuple[Backend, ...]:
    """The servers in order, each once: those of hosts and groups, then URLs; without any the one of the same host.

    Args:
        host: the web server's.
        names: of hosts and groups.
        urls: of servers outside the inventory.
        bridge: the web server has a network of its own, in which its host's loopback is not the host's.

    Raises:
        ValueError: there are none, or one listens where this host cannot reach it.
    """
    found = [*_peers(host, names, bridge), *(Backend(url) for url in urls)] or [_own(host, bridge)]
    first: dict[str, Backend] = {}
    for backend in found:
        first.setdefault(backend.url, backend)
    return tuple(first.values())


def models(host: HostView, backends: Sequence[Backend]) -> tuple[str, ...]:
    """Names of the models that their hosts declare; where none is of the inventory, those of this host."""
    declared = {name for backend in backends for name in backend.models}
    if not any(backend.host for backend in backends):
        declared = set(_declared(host.settings))
    return tuple(sorted(declared))


def port(settings: Mapping[str, Any]) -> int:
    """Of the Ollama of a host with these role settings."""
    return int(getattr(settings.get("ollama"), "port", _PORT))


def _peers(host: HostView, names: Sequence[str], bridge: bool) -> Iterator[Backend]:
    for peer in (peer for name in names for peer in host.peers(name)):
        ollama, same = peer.settings.get("ollama"), peer.name == host.name
        if ollama is not None and _on_loopback(ollama) and (bridge or not same):
            raise ValueError(
                f"backends: the Ollama of {peer.name} listens on loopback only; set ollama.listen: lan there"
            )
        address = _here(bridge) if same else peer.address
        yield Backend(f"http://{address}:{port(peer.settings)}", peer.name, _declared(peer.settings))


def _own(host: HostView, bridge: bool) -> Backend:
    if "ollama" not in host.roles:
        raise ValueError("backends: none is named, and this host has no role ollama; write backends: {group: NAME}")
    if bridge and _on_loopback(host.settings.get("ollama")):
        raise ValueError("network: bridge cannot reach an Ollama on loopback; set ollama.listen: lan or network: host")
    return Backend(f"http://{_here(bridge)}:{port(host.settings)}", host.name, _declared(host.settings))


def _on_loopback(ollama: Any) -> bool:
    return bool(getattr(ollama, "listen", "loopback") == "loopback")


def _here(bridge: bool) -> str:
    return HOST_OF_BRIDGE if bridge else "127.0.0.1"


def _declared(settings: Mapping[str, Any]) -> tuple[str, ...]:
    role = settings.get("models")
    return tuple(sorted({str(ModelName.parse(name)) for name in role.models})) if role is not None else ()
