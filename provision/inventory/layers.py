"""The files of an inventory, and the order in which their variables win.

Ansible's order (VARIABLE_PRECEDENCE): `all` inline, groups inline, `group_vars/all`, `group_vars/` of groups, then the
host inline, then `host_vars/`. Groups go by depth, `ansible_group_priority`, name.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from provision.errors import Mistake
from provision.inventory.document import Mapping as MapNode
from provision.inventory.document import Node, Scalar, is_null, read
from provision.inventory.names import nearest
from provision.inventory.tree import Entry, Tree, Vars, set_vars

YAML_ENDINGS = (".yml", ".yaml", ".json")
_IGNORED = re.compile(r"^\.|^(group_vars|host_vars|vars_plugins|roles|templates)$")
_REFUSED = (".ini", ".cfg", ".py", ".sh", ".toml")
_INI = re.compile(r"\[[^\]:,]+(:(vars|children))?\]\s*(#.*)?")
_WAY_OUT = "write `ansible-inventory -i {} -y --list > FILE.yml` and use that file"


def inventory_files(path: Path, mistakes: list[Mistake]) -> Iterator[Path]:
    """The YAML files of an inventory: itself, or those in the directory and below, by name."""
    if not path.is_dir():
        if _is_yaml_inventory(path, mistakes):
            yield path
        return
    for entry in sorted(path.iterdir(), key=lambda item: item.name):
        if _IGNORED.search(entry.name):
            continue
        if entry.is_dir() or not entry.suffix or entry.suffix in (*YAML_ENDINGS, *_REFUSED):
            yield from inventory_files(entry, mistakes)


def _is_yaml_inventory(path: Path, mistakes: list[Mistake]) -> bool:
    if not path.exists():
        mistakes.append(Mistake(str(path), 0, 0, "there is no such file"))
        return False
    way_out = _WAY_OUT.format(path)
    if not path.is_file():
        mistakes.append(Mistake(str(path), 0, 0, "not a file"))
        return False
    with path.open("rb") as file:
        lines = file.read(4096).decode("utf-8", "replace").splitlines()
    first = next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith(("#", ";"))), "")
    if (lines and lines[0].startswith("#!")) or path.suffix in (".py", ".sh"):
        mistakes.append(Mistake(str(path), 1, 1, f"a dynamic inventory is not read: {way_out}"))
        return False
    if path.suffix in _REFUSED or (path.suffix != ".json" and _INI.fullmatch(first)):
        mistakes.append(Mistake(str(path), 1, 1, f"only YAML inventories are read: {way_out}"))
        return False
    return True


class VarsFiles:
    """`group_vars/` and `host_vars/` beside an inventory, each file read once."""

    def __init__(self, path: Path, mistakes: list[Mistake]) -> None:
        self.base = path if path.is_dir() else path.parent
        self.mistakes = mistakes
        self.warnings: list[Mistake] = []
        self.paths: list[Path] = []
        self._names = {kind: self._list(kind) for kind in ("group_vars", "host_vars")}
        self._read: dict[tuple[str, str], Vars] = {}

    def of(self, kind: str, name: str) -> Vars:
        """The variables of a group or host in its files."""
        if name not in self._names[kind]:
            return {}
        if (kind, name) not in self._read:
            found: Vars = {}
            for file in _find(self.base / kind / name):
                self.paths.append(file)
                root = read(file, str(file), self.mistakes)
                if isinstance(root, MapNode):
                    set_vars(found, root.entries, self.mistakes)
                elif root is not None and not is_null(root):
                    self.mistakes.append(root.mark.mistake("a file of variables is a mapping"))
            for entry in found.get("ansible_group_priority", []):
                text = "ansible_group_priority counts only in the inventory itself (below `vars:` of the group)"
                self.warnings.append(entry.key.mistake(text))
            self._read[kind, name] = found
        return self._read[kind, name]

    def read_all(self) -> None:
        """Read every file, whoever it is for."""
        for kind, names in self._names.items():
            for name in names:
                self.of(kind, name)

    def entries(self) -> Iterator[Entry]:
        """Every variable that was read."""
        for found in self._read.values():
            for entries in found.values():
                yield from entries

    def check_names(self, kind: str, known: Iterable[str]) -> None:
        """Warn of files that belong to nobody."""
        known = list(known)
        for name, path in self._names[kind].items():
            if name not in known:
                near = nearest(name, known)
                hint = f"; did you mean {near!r}?" if near else ""
                what = "group" if kind == "group_vars" else "host"
                self.warnings.append(Mistake(str(path), 0, 0, f"there is no {what} {name!r} in this inventory{hint}"))

    def _list(self, kind: str) -> dict[str, Path]:
        folder = self.base / kind
        if not folder.is_dir():
            return {}
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
        names = {entry.name: entry for entry in entries if entry.is_dir() or not entry.suffix}
        for entry in entries:
            if entry.is_file() and entry.suffix in YAML_ENDINGS:
                names.setdefault(entry.name.removesuffix(entry.suffix), entry)
            elif entry.is_file() and entry.suffix:
                # A host may be called `gpu01.lan`: the whole name of a file can be the host's.
                names.setdefault(entry.name, entry)
        return names


def _find(base: Path) -> list[Path]:
    """Ansible's DataLoader.find_vars_files: the first of NAME, NAME.yml, NAME.yaml, NAME.json."""
    for ending in ("", *YAML_ENDINGS):
        path = base.with_name(base.name + ending)
        if path.is_dir():
            return _in_directory(path)
        if path.exists():
            return [path]
    return []


def _in_directory(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir(), key=lambda item: item.name):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir() and not path.suffix:
            found += _in_directory(path)
        elif path.is_file() and path.suffix in ("", *YAML_ENDINGS):
            found.append(path)
    return found


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable of a host: the entry that counts for Ansible, and all layers merged for role settings."""

    last: Entry
    merged: Node


Block = dict[str, Setting]


class Layers:
    """Every variable of a host over its layers.

    The merge goes in the steps in which Ansible's `hash_behaviour=merge` goes: each owner by itself, the groups with
    each other, then the blocks. That matters where a text stands between two mappings.
    """

    def __init__(self, tree: Tree, files: VarsFiles) -> None:
        self.tree, self.files = tree, files
        self._groups: dict[str, Block] = {}
        self._shared: dict[tuple[str, ...], Block] = {}
        self._made: dict[tuple[int, int], tuple[Node, Node, Node]] = {}

    def of(self, host: str, groups: tuple[str, ...]) -> Block:
        """Name -> setting. `groups` as `Tree.memberships` orders them. Equal layers give the identical node."""
        if groups not in self._shared:
            inner = [name for name in groups if name != "all"]
            inline = self._join([self._group(name) for name in inner])
            filed = self._join([self._fold(self.files.of("group_vars", name)) for name in inner])
            everywhere = self._fold(self.files.of("group_vars", "all"))
            self._shared[groups] = self._join([self._group("all"), inline, everywhere, filed])
        entry = self.tree.hosts[host]
        own = entry.vars
        if entry.port is not None:
            port = Entry("ansible_port", entry.mark, Scalar(entry.mark, str(entry.port), "int", entry.port))
            own = {**own, "ansible_port": [port, *own.get("ansible_port", [])]}
        return self._join([self._shared[groups], self._fold(own), self._fold(self.files.of("host_vars", host))])

    def _group(self, name: str) -> Block:
        if name not in self._groups:
            self._groups[name] = self._fold(self.tree.groups[name].vars)
        return self._groups[name]

    def _fold(self, found: Vars) -> Block:
        block: Block = {}
        for name, entries in found.items():
            setting = Setting(entries[0], entries[0].node)
            for entry in entries[1:]:
                setting = Setting(entry, self.merged(setting.merged, entry.node))
            block[name] = setting
        return block

    def _join(self, blocks: list[Block]) -> Block:
        result: Block = {}
        for block in blocks:
            for name, upper in block.items():
                lower = result.get(name)
                result[name] = Setting(upper.last, self.merged(lower.merged, upper.merged)) if lower else upper
        return result

    def merged(self, lower: Node, upper: Node) -> Node:
        """A node over a weaker one, made once for the same two."""
        key = (id(lower), id(upper))
        if key not in self._made:
            # The two are kept as well: an id is only theirs as long as they live.
            self._made[key] = (lower, upper, merge(lower, upper))
        return self._made[key][2]


def merge(lower: Node, upper: Node) -> Node:
    """A layer over a weaker one: mappings merge, lists and text replace, null resets."""
    if is_null(upper) and isinstance(upper, Scalar):
        return replace(upper, reset=True)
    if not isinstance(upper, MapNode) or upper.fresh:
        return upper
    if is_null(lower):
        return replace(upper, fresh=True)
    if not isinstance(lower, MapNode):
        return upper
    entries = dict(lower.entries)
    for name, (key, node) in upper.entries.items():
        entries[name] = (key, merge(entries[name][1], node) if name in entries else node)
    return MapNode(upper.mark, entries, fresh=lower.fresh)
