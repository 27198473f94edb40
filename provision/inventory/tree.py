"""Groups and hosts of Ansible's YAML inventory, from nodes.

What `ansible-core` only warns of and drops (an unexpected key, a value that is no mapping) is a mistake here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from provision.errors import Mistake
from provision.inventory.document import Mapping as MapNode
from provision.inventory.document import Mark, Node, Scalar, is_null
from provision.inventory.hostnames import MAX_HOSTS, expand
from provision.inventory.names import did_you_mean

SECTIONS = ("hosts", "children", "vars")
OWN = ("all", "ungrouped")
RESERVED = frozenset(
    {"inventory_hostname", "inventory_hostname_short", "inventory_file", "inventory_dir", "playbook_dir"}
    | {"group_names", "groups", "hostvars", "omit"}
)
_UNFIT = set(" ,:&!*?[]~\t@")


@dataclass(frozen=True, slots=True)
class Entry:
    """A variable where it is set."""

    name: str
    key: Mark
    node: Node


Vars = dict[str, list[Entry]]


def set_vars(into: Vars, entries: Mapping[str, tuple[Scalar, Node]], mistakes: list[Mistake]) -> None:
    """Add a mapping's entries. Later ones stand behind earlier ones of the same name."""
    for name, (key, node) in entries.items():
        if key.kind != "str":
            mistakes.append(
                key.mark.mistake(f"the name of a variable is text, YAML takes {name!r} for {key.kind}; quote it")
            )
        elif name in RESERVED:
            mistakes.append(key.mark.mistake(f"{name!r} is a name of Ansible's own and cannot be set"))
        else:
            into.setdefault(name, []).append(Entry(name, key.mark, node))


@dataclass(eq=False)
class Group:
    """A group while the inventory is read. `hosts` and `children` are direct members in order."""

    name: str
    mark: Mark
    vars: Vars = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    priority: int = 1
    depth: int = 0


@dataclass(eq=False)
class HostEntry:
    """A host while the inventory is read. `port` is the one of its name."""

    name: str
    mark: Mark
    port: int | None = None
    vars: Vars = field(default_factory=dict)


class Tree:
    """All groups and hosts of the files that were added, and the mistakes in them."""

    def __init__(self, start: Mark) -> None:
        self.groups: dict[str, Group] = {name: Group(name, start) for name in OWN}
        self.hosts: dict[str, HostEntry] = {}
        self.mistakes: list[Mistake] = []
        self._link(self.groups["all"], self.groups["ungrouped"], start)

    def add(self, root: Node) -> None:
        """Take in one file."""
        if not isinstance(root, MapNode):
            text = "an inventory is a mapping of groups, such as `all:`"
            self._wrong(root.mark, f"{text}; for INI and dynamic inventories use `ansible-inventory -y --list`")
            return
        if "plugin" in root.entries and isinstance(root.entries["plugin"][1], Scalar):
            text = "this configures an inventory plugin; save its result with `ansible-inventory -y --list`"
            self._wrong(root.entries["plugin"][0].mark, text)
            return
        for name, (key, node) in root.entries.items():
            if name in SECTIONS:
                self._wrong(key.mark, f"`{name}` stands inside a group: put it below `all:`")
            else:
                self._group(key, node)

    def finish(self) -> None:
        """Put groups without parents below `all`, hosts without groups into `ungrouped`, count depths."""
        every = self.groups["all"]
        for group in self.groups.values():
            if group.name != "all" and not group.parents:
                self._link(every, group, group.mark)
        grouped = {host for name, group in self.groups.items() if name not in OWN for host in group.hosts}
        ungrouped = self.groups["ungrouped"]
        members = [host for host in self.hosts if host not in grouped]
        ungrouped.hosts = {host: None for host in [*ungrouped.hosts, *members] if host not in grouped}
        for name, host in self.hosts.items():
            if name in self.groups:
                self._wrong(host.mark, f"{name!r} is the name of a host and of a group")
        self._depths()

    def ancestors(self, name: str) -> dict[str, None]:
        """Groups above a group, without itself."""
        found: dict[str, None] = {}
        todo = list(self.groups[name].parents)
        while todo:
            parent = todo.pop()
            if parent not in found:
                found[parent] = None
                todo += self.groups[parent].parents
        return found

    def memberships(self) -> dict[str, tuple[str, ...]]:
        """Host -> all its groups, in the order in which Ansible lets later ones win: depth, priority, name."""
        above = {name: (name, *self.ancestors(name)) for name in self.groups}
        found: dict[str, set[str]] = {host: {"all"} for host in self.hosts}
        for name, group in self.groups.items():
            for host in group.hosts:
                found[host].update(above[name])
        ranked = sorted(self.groups.values(), key=lambda g: (g.depth, g.priority, g.name))
        rank = {group.name: index for index, group in enumerate(ranked)}
        return {host: tuple(sorted(names, key=rank.__getitem__)) for host, names in found.items()}

    def members(self, name: str) -> tuple[str, ...]:
        """Hosts of a group and of those below: its own first, then level by level. `all` is in inventory order."""
        if name == "all":
            return tuple(self.hosts)
        seen: dict[str, None] = {name: None}
        level = [name]
        while level:
            level = [child for group in level for child in self.groups[group].children if child not in seen]
            seen.update(dict.fromkeys(level))
        return tuple(dict.fromkeys(host for group in seen for host in self.groups[group].hosts))

    def entries(self) -> Iterator[Entry]:
        """Every variable that is set in the files."""
        for owned in [*(g.vars for g in self.groups.values()), *(h.vars for h in self.hosts.values())]:
            for entries in owned.values():
                yield from entries

    def _wrong(self, mark: Mark, message: str) -> None:
        self.mistakes.append(mark.mistake(message))

    def _group(self, key: Scalar, node: Node) -> Group | None:
        if key.kind != "str":
            self._wrong(key.mark, f"the name of a group is text, YAML takes {key.text!r} for {key.kind}; quote it")
            return None
        if not key.text or set(key.text) & _UNFIT:
            self._wrong(key.mark, f"{key.text!r} is not a name for a group: use letters, digits and _")
            return None
        group = self.groups.setdefault(key.text, Group(key.text, key.mark))
        if isinstance(node, MapNode):
            for name, (section, content) in node.entries.items():
                if name not in SECTIONS:
                    self._misplaced(group, section, content)
                elif not is_null(content):
                    self._section(group, name, content)
        elif not is_null(node):
            self._wrong(node.mark, f"the group {group.name!r} is a mapping with {', '.join(SECTIONS)}")
        return group

    def _misplaced(self, group: Group, key: Scalar, node: Node) -> None:
        hint = did_you_mean(key.text, SECTIONS)
        if isinstance(node, MapNode) and set(node.entries) & set(SECTIONS) and "mean" not in hint:
            hint = "; if it is a group put it below `children:`"
        elif "mean" not in hint:
            hint = "; variables stand below `vars:`, hosts below `hosts:`, groups below `children:`"
        self._wrong(key.mark, f"unknown key {key.text!r} in the group {group.name!r}{hint}")

    def _section(self, group: Group, name: str, node: Node) -> None:
        if isinstance(node, Scalar) and node.kind == "str" and name != "vars":
            # Ansible takes `hosts: web1` for `hosts: {web1: }`.
            entries: dict[str, tuple[Scalar, Node]] = {node.text: (node, Scalar(node.mark, "", "null", None))}
        elif isinstance(node, MapNode):
            entries = node.entries
        else:
            self._wrong(node.mark, f"`{name}` is a mapping: write `NAME:` lines, without dashes")
            return
        if name == "vars":
            self._group_vars(group, entries)
        for key, value in entries.values():
            if name == "children":
                self._child(group, key, value)
            elif name == "hosts":
                self._hosts(group, key, value)

    def _group_vars(self, group: Group, entries: dict[str, tuple[Scalar, Node]]) -> None:
        own = dict(entries)
        if priority := own.pop("ansible_group_priority", None):
            node = priority[1]
            if isinstance(node, Scalar) and node.text.lstrip("-").isdecimal():
                group.priority = int(node.text)
            else:
                self._wrong(node.mark, "ansible_group_priority is a whole number")
        set_vars(group.vars, own, self.mistakes)

    def _child(self, group: Group, key: Scalar, node: Node) -> None:
        child = self._group(key, node)
        if child is not None:
            self._link(group, child, key.mark)

    def _link(self, group: Group, child: Group, mark: Mark) -> None:
        if child.name in group.children:
            return
        if child is group or child.name in self.ancestors(group.name):
            path = self._path(child.name, group.name)
            self._wrong(mark, f"the groups form a cycle: {' > '.join([*path, child.name])}")
            return
        if "ungrouped" in (group.name, child.name) and group.name != "all":
            self._wrong(mark, "the group 'ungrouped' is Ansible's own: it has no children and no parent but 'all'")
            return
        group.children[child.name] = None
        child.parents[group.name] = None

    def _path(self, top: str, bottom: str) -> list[str]:
        """Groups from `top` down to `bottom`."""
        path = [bottom]
        while path[0] != top:
            path.insert(0, next(p for p in self.groups[path[0]].parents if p == top or top in self.ancestors(p)))
        return path

    def _hosts(self, group: Group, key: Scalar, node: Node) -> None:
        if key.kind != "str":
            self._wrong(key.mark, f"the name of a host is text, YAML takes {key.text!r} for {key.kind}; quote it")
            return
        try:
            names, port = expand(key.text)
        except ValueError as error:
            self._wrong(key.mark, str(error))
            return
        if not (isinstance(node, MapNode) or is_null(node)):
            self._wrong(node.mark, f"the host {key.text!r} is a mapping of variables, or nothing")
            return
        if len(self.hosts) + len(names) > MAX_HOSTS:
            self._wrong(key.mark, f"more than {MAX_HOSTS:,} hosts")
            return
        for name in names:
            host = self.hosts.setdefault(name, HostEntry(name, key.mark, port))
            group.hosts[name] = None
            if isinstance(node, MapNode):
                set_vars(host.vars, node.entries, self.mistakes)

    def _depths(self) -> None:
        """The longest way from `all`."""
        todo = ["all"]
        while todo:
            group = self.groups[todo.pop()]
            for name in group.children:
                child = self.groups[name]
                if child.depth < group.depth + 1:
                    child.depth = group.depth + 1
                    todo.append(name)
