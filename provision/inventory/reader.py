"""An inventory on disk to a `Fleet`, with every mistake of it in one error."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provision.dataclass import dataclass
from provision.errors import InputError, Mistake
from provision.inventory.connection import KNOWN as ANSIBLE
from provision.inventory.connection import ConnectionReader
from provision.inventory.document import Mapping as MapNode
from provision.inventory.document import Mark, Node, Scalar, Sequence, is_null, read, value_of
from provision.inventory.findings import Findings
from provision.inventory.fleet import Fleet, Host
from provision.inventory.hostnames import is_ip, is_loopback, parse_address
from provision.inventory.layers import Block, Layers, VarsFiles, inventory_files
from provision.inventory.names import did_you_mean, distance
from provision.inventory.tree import Entry, Tree
from provision.values import Secret

if TYPE_CHECKING:
    from pydantic import BaseModel

ROLES = "provision_roles"
OWN = frozenset((ROLES, "address", "artifacts", "models_prune", "twin"))

Schemas = Mapping[str, "type[BaseModel]"]


@dataclass(frozen=True)
class Overlay:
    """A variable of hosts that stands in for others, such as `twin`: its `settings` are laid over those of the roles.

    Args:
        name: of the variable. Its layers merge as those of a role do.
        model: what may stand in it; the validated value is in `Host.settings` under its name.
    """

    name: str
    model: "type[BaseModel]"


def load(
    path: Path,
    schemas: Schemas,
    *,
    environ: Mapping[str, str] = os.environ,
    need_secrets: bool = True,
    overlay: Overlay | None = None,
) -> Fleet:
    """Read an inventory.

    Args:
        path: a YAML file, or a directory of them; `group_vars/` and `host_vars/` stand beside.
        schemas: role name -> settings model.
        environ: where `{secret: env:NAME}` is looked up.
        need_secrets: a secret that cannot be had is a mistake. No command of a secret is ever run here.
        overlay: takes effect; hosts are then reached otherwise, and the secrets of their connections not needed.

    Raises:
        InputError: with all mistakes of all files.
    """
    return Reader(path, schemas, environ=environ, need_secrets=need_secrets, overlay=overlay).fleet()


def read_tree(path: Path) -> tuple[Tree, list[Path], list[Mistake]]:
    """Groups and hosts of an inventory, the files they stand in, and why files could not be read at all."""
    mistakes: list[Mistake] = []
    files = list(inventory_files(path, mistakes))
    tree = Tree(Mark(str(path), 0, 0))
    for file in files:
        root = read(file, str(file), mistakes)
        if root is not None and not is_null(root):
            tree.add(root)
    if not files and not mistakes:
        mistakes.append(Mistake(str(path), 0, 0, "no YAML inventory in this directory"))
    tree.finish()
    return tree, files, mistakes


class Reader:
    """One loading in two steps: the files, then the roles' settings, which take as long as a login.

    Args: see `load`.

    Attributes:
        bare: the hosts with their groups and connections, without roles and settings.

    Raises:
        InputError: a file cannot be read at all.
    """

    def __init__(
        self,
        path: Path,
        schemas: Schemas,
        *,
        environ: Mapping[str, str] = os.environ,
        need_secrets: bool = True,
        overlay: Overlay | None = None,
    ) -> None:
        self.path, self.schemas, self.environ = path, schemas, environ
        self.need_secrets, self.overlay = need_secrets, overlay
        self.tree, self._inventory_files, unread = read_tree(path)
        if unread:
            # What is in those files is not known: only look whether the others can be read.
            VarsFiles(path, unread).read_all()
            raise InputError(unread + self.tree.mistakes)
        self.found = Findings(mistakes=self.tree.mistakes)
        self.files = VarsFiles(path, self.found.mistakes)
        self.layers = Layers(self.tree, self.files)
        self.groups = {name: self.tree.members(name) for name in self.tree.groups}
        self.settings: dict[tuple[str, int], BaseModel | None] = {}
        for name in self.tree.groups:
            self.files.of("group_vars", name)
        memberships = self.tree.memberships()
        self._blocks = {name: self.layers.of(name, groups) for name, groups in memberships.items()}
        hosts = {name: self._host(name, memberships[name], block) for name, block in self._blocks.items()}
        if overlay:
            self.found.secrets.clear()
        self.bare = Fleet(path, MappingProxyType(hosts), MappingProxyType(self.groups))

    @property
    def sound(self) -> bool:
        """Whether no mistake was found so far."""
        return not self.found.mistakes

    def fleet(self) -> Fleet:
        """The whole of it.

        Raises:
            InputError: with all mistakes of all files.
        """
        hosts = {name: self._with_settings(host, self._blocks[name]) for name, host in self.bare.hosts.items()}
        foreign = self._names()
        self._references()
        if self.need_secrets:
            self._secrets()
        if self.found.mistakes:
            raise InputError(self.found.mistakes)
        self.files.check_names("group_vars", self.tree.groups)
        self.files.check_names("host_vars", self.tree.hosts)
        used = {role for host in hosts.values() for role in host.roles}
        unused = [
            Mistake(*entry.key, f"settings of the role {entry.name!r}, which no host has in {ROLES}")
            for entry in self._entries()
            if entry.name in self.schemas and entry.name not in used
        ]
        return Fleet(
            path=self.path,
            hosts=MappingProxyType(hosts),
            groups=self.bare.groups,
            foreign=tuple(foreign),
            warnings=tuple(sorted({*self.files.warnings, *unused})),
            files=(*self._inventory_files, *self.files.paths),
        )

    def _entries(self) -> Iterable[Entry]:
        yield from self.tree.entries()
        yield from self.files.entries()

    def _wrong(self, mark: Mark, message: str) -> None:
        self.found.mistakes.append(mark.mistake(message))

    @property
    def _base(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def _host(self, name: str, groups: tuple[str, ...], layers: Block) -> Host:
        """A host as far as it can be told without its roles."""
        last = {variable: setting.last for variable, setting in layers.items()}
        variables = {variable: value_of(entry.node) for variable, entry in last.items()}
        magic: dict[str, Any] = {
            "inventory_hostname": name,
            "inventory_hostname_short": name if is_ip(name) else name.partition(".")[0],
            "group_names": sorted(group for group in groups if group != "all"),
            "groups": {group: list(members) for group, members in self.groups.items()} if _has_jinja(last) else {},
        }
        reader = ConnectionReader(name, last, variables | magic, self._base, self.found)
        connection = reader.read()
        address = self._text(last.get("address"))
        if address is None and connection.kind == "ssh":
            address = _peer_address(name, connection.host)
        elif address is not None and parse_address(address) is None:
            self._wrong(last["address"].node.mark, f"{address!r} is not an address or a host name")
        artifacts = self._text(last.get("artifacts"))
        return Host(
            name=name,
            groups=groups,
            vars=MappingProxyType(variables),
            roles=(),
            settings=MappingProxyType({}),
            connection=connection,
            address=address,
            artifacts=self._base / Path(artifacts).expanduser() if artifacts else None,
            warnings=tuple(reader.warnings),
        )

    def _with_settings(self, host: Host, layers: Block) -> Host:
        roles = self._roles(layers[ROLES].last if ROLES in layers else None)
        over = self._laid_over(layers)
        settings = {role: self._settings(role, mark, self._node(layers, over, role)) for role, mark in roles}
        if self.overlay:
            node = self._node(layers, {}, self.overlay.name)
            settings[self.overlay.name] = self._settings(self.overlay.name, self.tree.hosts[host.name].mark, node)
        known = {role: model for role, model in settings.items() if model is not None}
        return replace(host, roles=tuple(role for role, _ in roles), settings=MappingProxyType(known))

    def _text(self, entry: Entry | None) -> str | None:
        if entry is None or is_null(entry.node):
            return None
        if not isinstance(entry.node, Scalar) or not entry.node.text:
            self._wrong(entry.node.mark, f"{entry.name} is text")
            return None
        return entry.node.text

    def _roles(self, entry: Entry | None) -> list[tuple[str, Mark]]:
        if entry is None or is_null(entry.node):
            return []
        if not isinstance(entry.node, Sequence):
            self._wrong(entry.node.mark, f"{ROLES} is a list of roles, in the order in which they are applied")
            return []
        found: dict[str, Mark] = {}
        for item in entry.node.items:
            if not isinstance(item, Scalar):
                self._wrong(item.mark, "a role is given by its name")
            elif item.text not in self.schemas:
                self._wrong(item.mark, f"there is no role {item.text!r}{did_you_mean(item.text, self.schemas)}")
            elif item.text in found:
                self._wrong(item.mark, f"the role {item.text!r} stands twice in {ROLES}")
            else:
                found[item.text] = item.mark
        return list(found.items())

    def _laid_over(self, layers: Block) -> Mapping[str, Node]:
        """Role -> what the overlay's `settings` say of it."""
        whole = layers[self.overlay.name].merged if self.overlay and self.overlay.name in layers else None
        settings = whole.entries.get("settings") if isinstance(whole, MapNode) else None
        if settings is None or not isinstance(settings[1], MapNode):
            return {}
        for key, _ in settings[1].entries.values():
            if key.text not in self.schemas:
                self._wrong(key.mark, f"there is no role {key.text!r}{did_you_mean(key.text, self.schemas)}")
        return {key.text: node for key, node in settings[1].entries.values()}

    def _node(self, layers: Block, over: Mapping[str, Node], name: str) -> Node | None:
        """All layers of a variable, and what is laid over them."""
        if name not in layers:
            return over.get(name)
        return self.layers.merged(layers[name].merged, over[name]) if name in over else layers[name].merged

    def _settings(self, role: str, mark: Mark, merged: Node | None) -> "BaseModel | None":
        """Validated settings; hosts whose settings come from the same places share them."""
        from provision.inventory.settings import validate  # pydantic: 0.1 s

        node = merged or Scalar(mark, "", "null", None)
        key = (role, id(merged))
        if key not in self.settings:
            self.settings[key] = None
            try:
                schema = self.overlay.model if self.overlay and role == self.overlay.name else self.schemas[role]
            except InputError as error:
                self.found.mistakes += error.mistakes or [mark.mistake(str(error))]
            else:
                self.settings[key] = validate(role, schema, node, mark, self._base, self.found)
        return self.settings[key]

    def _names(self) -> list[Mistake]:
        """Variables that nobody here reads: a mistake when they look like a slip, else foreign."""
        known = {*self.schemas, *OWN, *ANSIBLE}
        foreign: dict[str, Mistake] = {}
        slips: dict[str, str] = {}
        for entry in self._entries():
            name = entry.name
            if name in known:
                continue
            if name not in slips:
                slips[name] = next((k for k in sorted(known) if distance(name, k, 2) <= _reach(name, k)), "")
            if slips[name]:
                self._wrong(entry.key, f"unknown variable {name!r}; did you mean {slips[name]!r}?")
            else:
                foreign.setdefault(name, entry.key.mistake(f"{name!r} means nothing here"))
        return list(foreign.values())

    def _references(self) -> None:
        names = {"group": list(self.groups), "host": list(self.tree.hosts)}
        for mark, name, reference in self.found.references:
            choices = [choice for kind in reference.kinds for choice in names[kind]]
            if name not in choices:
                what = " or ".join(reference.kinds)
                self._wrong(mark, f"there is no {what} {name!r}{did_you_mean(name, choices)}")

    def _secrets(self) -> None:
        for mark, secret in self.found.secrets:
            if problem := self._missing(secret):
                self._wrong(mark, f"secret {secret.source}: {problem}")

    def _missing(self, secret: Secret) -> str | None:
        kind, _, rest = secret.source.partition(":")
        if not rest.strip():
            return "write env:NAME, file:PATH or cmd:COMMAND"
        if kind == "env":
            return None if self.environ.get(rest) else f"the environment variable {rest} is not set"
        return secret.missing()


def _peer_address(name: str, host: str) -> str | None:
    """Where peers reach a host that declares no `address`.

    A bare inventory name may be an alias of the control machine's ~/.ssh/config: then the host's own address counts.
    """
    if is_loopback(host) or (host == name and "." not in name and not is_ip(name)):
        return None
    return host


def _reach(name: str, known: str) -> int:
    """How far a name may be from a known one to count as a slip: short names are often just other words."""
    return 2 if min(len(name), len(known)) > 5 else 1


def _has_jinja(variables: Mapping[str, Entry]) -> bool:
    return any(
        name.startswith("ansible_") and isinstance(entry.node, Scalar) and "{" in entry.node.text
        for name, entry in variables.items()
    )
