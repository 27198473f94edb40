"""What is to be true on a host: its roles, asked with what they may see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from provision.data import cache_folder, search_path
from provision.engine.plan import Declared
from provision.engine.reach import Reach
from provision.errors import InputError, Mistake
from provision.facts.model import Identity
from provision.inventory.fleet import Fleet, Host
from provision.resources.base import Resource
from provision.roles import BUGS, Role, bug, load_role
from provision.templates import Templates
from provision.values import printable
from provision.view import HostView, OpenPort, Peer


class Declarer:
    """Asks roles. One for a run: templates are compiled once.

    Args:
        fleet: the inventory.
        reach: asked for the addresses of peers.
        roles: these alone; None: all that a host has.

    Raises:
        InputError: a role finds a mistake in its settings, before any host is touched.
    """

    def __init__(self, fleet: Fleet, reach: Reach, roles: Sequence[str] | None = None) -> None:
        self.fleet, self.reach = fleet, reach
        self.roles = None if roles is None else tuple(roles)
        self.templates = Templates.of(fleet.path, cache_folder() / "templates")
        # While the first hosts are being logged in to, not when the first of them waits for its resources.
        self.templates.prepare()
        self._load = loader(fleet)
        if found := mistakes(fleet):
            raise InputError(found)

    def declare(self, host: Host, identity: Identity) -> Declared:
        """All resources of a host.

        Raises:
            InputError: a role or a template refuses its settings, or two resources have the same id.
            HostError: an address of a peer is needed and cannot be had.
        """
        view = self.view(host, identity)
        wanted = [role for role in host.roles if self.roles is None or role in self.roles]
        return Declared.of(host.name, self._entries(view, wanted), self.roles)

    def _entries(self, view: HostView, roles: Sequence[str]) -> Iterator[tuple[str, Resource]]:
        for role in roles:
            module = self._load(role)
            try:
                for resource in module.declare(view, view.settings[role]):
                    if not isinstance(getattr(resource, "id", None), str):
                        raise TypeError(f"declare() gives {printable(repr(resource), 80)}, which is no resource")
                    yield role, resource
            except (ValueError, *BUGS) as error:
                raise _wrong(view.name, role, module, error) from error

    def ports(self, view: HostView, role: str) -> tuple[OpenPort, ...]:
        """The ports on which what a role declares answers: what its `ports(host, want)` gives, if it has that.

        Raises:
            InputError: it refuses its settings, or its program is wrong.
        """
        module = self._load(role)
        tell = getattr(module, "ports", None)
        try:
            return tuple(tell(view, view.settings[role])) if tell else ()
        except (ValueError, *BUGS) as error:
            raise _wrong(view.name, role, module, error) from error

    def view(self, host: Host, identity: Identity) -> HostView:
        """The host as its roles see it."""
        return HostView(
            name=host.name,
            identity=identity,
            roles=host.roles,
            settings=host.settings,
            vars=host.vars,
            render=self.templates.render,
            find=partial(find_file, self.fleet),
            peers=lambda name: self._peers(host.name, name),
            artifacts=host.artifacts,
        )

    def _peers(self, host: str, name: str) -> tuple[Peer, ...]:
        return tuple(
            Peer(peer.name, self.reach.address(host, peer.name), peer.settings) for peer in self.fleet.members(name)
        )


def loader(fleet: Fleet) -> Callable[[str], Role]:
    """Gives roles by name. The folders are searched once for each: a thousand hosts have the same few."""
    return cache(partial(load_role, inventory=fleet.path))


def _wrong(host: str, role: str, module: Role, error: Exception) -> InputError:
    """What a role refuses, by its own words; a mistake in its program, with its place."""
    what = error if isinstance(error, ValueError) else bug(error, _file(module, role))
    return InputError(f"{host}: role {role}: {what}")


def _file(module: Role, role: str) -> Path:
    return Path(str(getattr(module, "__file__", role)))


def find_file(fleet: Fleet, name: str) -> Path | None:
    """A local file, relative to the inventory first, then to the templates' folders."""
    folders = (fleet.base, *search_path("templates", fleet.path))
    return next((path for folder in folders if (path := folder / Path(name).expanduser()).exists()), None)


def mistakes(fleet: Fleet) -> list[Mistake]:
    """What roles find wrong in their settings without any host: a Modelfile with a mistake, a file that is not there.

    A role that can tell has `check(want, render, find)`.
    """
    found: list[Mistake] = []
    render, find, load = Templates.of(fleet.path).render, partial(find_file, fleet), loader(fleet)
    for host in fleet.hosts.values():
        for role in host.roles:
            check = getattr(load(role), "check", None)
            if check is not None:
                try:
                    found += check(host.settings[role], render, find)
                except (ValueError, *BUGS) as error:
                    found.append(bug(error, _file(load(role), role)))
    return found


def check_roles(roles: Sequence[str] | None, hosts: Sequence[Host]) -> None:
    """Every role that was asked for belongs to one of the hosts.

    Raises:
        InputError: one does not.
    """
    from provision.inventory.names import did_you_mean

    known: Mapping[str, None] = dict.fromkeys(role for host in hosts for role in host.roles)
    for role in roles or ():
        if role not in known:
            raise InputError(f"none of these hosts has the role {role!r}{did_you_mean(role, known)}")
