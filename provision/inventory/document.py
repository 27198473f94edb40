"""YAML text to nodes that know where they stand.

PyYAML's C parser gives events; the nodes are built here, in a loop, so that size, depth and the expansion of aliases
are bounded while reading, and every mistake has a place. No value is made before its node: a field that is text takes
the scalar's text, because YAML 1.1 would make `0.30` 0.3, `22:22` 1342, `0644` 420 and `on` true.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor

from provision.errors import InputError, Mistake

MAX_BYTES = 8 << 20
MAX_NODES = 200_000
MAX_DEPTH = 40

_YAML = "tag:yaml.org,2002:"
_CONSTRUCT = SafeConstructor()
_SCALARS: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    "int": _CONSTRUCT.construct_yaml_int,
    "float": _CONSTRUCT.construct_yaml_float,
    "bool": _CONSTRUCT.construct_yaml_bool,
    "timestamp": _CONSTRUCT.construct_yaml_timestamp,
    "binary": _CONSTRUCT.construct_yaml_binary,
}
_KEPT = {"str", "null", "merge", *_SCALARS}
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
VAULT = (
    "Ansible Vault is not read here: keep the value in a vault file and write "
    "{secret: 'cmd:ansible-vault view FILE'}, or env:NAME, file:PATH"
)


class Mark(NamedTuple):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def mistake(self, message: str) -> Mistake:
        """A mistake at this place."""
        return Mistake(self.file, self.line, self.column, message)


@dataclass(slots=True, eq=False)
class Scalar:
    """Text, what YAML takes it for (`str`, `int`, `null`, ...) and the value that gives.

    `literal`: tagged `!unsafe`, never a template. `reset`: a null that took away what a weaker layer said.
    """

    mark: Mark
    text: str
    kind: str
    value: Any
    literal: bool = False
    size: int = 1
    depth: int = 1
    reset: bool = False


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes. `size` counts nodes with aliases expanded."""

    mark: Mark
    items: list["Node"]
    size: int
    depth: int
    _value: Any = None


@dataclass(slots=True, eq=False)
class Mapping:
    """Key text -> (key, node). Merge keys are resolved. `size` counts nodes with aliases expanded.

    `fresh`: it came after a null, and replaces what weaker layers say instead of merging with it.
    """

    mark: Mark
    entries: dict[str, tuple[Scalar, "Node"]]
    size: int = 1
    depth: int = 1
    fresh: bool = False
    _value: Any = None

    def present(self) -> Iterator[tuple[Scalar, "Node"]]:
        """The entries that no layer has taken away."""
        return (entry for entry in self.entries.values() if not was_reset(entry[1]))


Node = Scalar | Sequence | Mapping


def value_of(node: Node) -> Any:
    """The plain value that YAML 1.1 makes of a node, as Ansible sees it. Made once; treat it as read-only."""
    if isinstance(node, Scalar):
        return node.value
    if node._value is None:
        if isinstance(node, Sequence):
            node._value = [value_of(item) for item in node.items]
        else:
            node._value = {key.value: value_of(item) for key, item in node.present()}
    return node._value


def was_reset(node: Node) -> bool:
    """The node is a null that took away what a weaker layer said."""
    return isinstance(node, Scalar) and node.reset


def is_null(node: Node) -> bool:
    """The node is `null`, `~` or nothing."""
    return isinstance(node, Scalar) and node.kind == "null"


def read(path: Path, name: str, mistakes: list[Mistake]) -> Node | None:
    """The root node of a YAML file, or None when it is empty or has mistakes, which are added to `mistakes`.

    Args:
        path: the file.
        name: how messages call it.
        mistakes: collects what is wrong.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            mistakes.append(Mistake(name, 0, 0, f"larger than {MAX_BYTES >> 20} MiB"))
            return None
        data = path.read_bytes()
    except OSError as error:
        mistakes.append(Mistake(name, 0, 0, f"cannot be read: {error.strerror}"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        mistakes.append(_at(name, before, "not UTF-8 text"))
        return None
    return parse(text, name, mistakes)


def parse(text: str, name: str, mistakes: list[Mistake]) -> Node | None:
    """As `read`, for text."""
    if text.startswith("$ANSIBLE_VAULT"):
        mistakes.append(Mistake(name, 1, 1, VAULT))
        return None
    unreadable = [_at(name, text[: found.start()], f"control character {found[0]!r}") for found in _control(text)]
    if unreadable:
        mistakes.extend(unreadable)
        return None
    builder = _Builder(name)
    try:
        root = builder.build(text)
    except yaml.MarkedYAMLError as error:
        builder.mistakes.append(_syntax(error, text, name))
    except yaml.YAMLError as error:
        builder.mistakes.append(Mistake(name, 0, 0, str(error).splitlines()[0]))
    except InputError as error:
        builder.mistakes.extend(error.mistakes)
    mistakes.extend(builder.mistakes)
    return None if builder.mistakes else root


def _control(text: str) -> list[re.Match[str]]:
    return [found for _, found in zip(range(20), _UNREADABLE.finditer(text), strict=False)]


def _at(name: str, before: str, message: str) -> Mistake:
    return Mistake(name, before.count("\n") + 1, len(before) - before.rfind("\n"), message)


def _syntax(error: yaml.MarkedYAMLError, text: str, name: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (-1, -1)
    lines = text.split("\n")
    here = lines[line] if 0 <= line < len(lines) else ""
    problem = error.problem or error.context or "not YAML"
    indent = here[: len(here) - len(here.lstrip())]
    if "\t" in indent or here[column : column + 1] == "\t":
        column = here.index("\t")
        problem = "a tab: YAML is indented with spaces"
    elif problem.startswith("mapping values are not allowed"):
        problem += "; quote text that contains ': ', and check the indentation"
    elif "maximum nesting depth" in problem:
        return Mistake(name, line + 1, column + 1, f"nested more than {MAX_DEPTH} deep")
    elif "expected a single document" in f"{error.context} {problem}":
        problem = "a second document begins: one file holds one"
    return Mistake(name, line + 1, column + 1, f"not YAML: {problem}")


@dataclass(slots=True)
class _Frame:
    mark: Mark
    anchor: str | None
    mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    merged: list[Mapping] = field(default_factory=list)
    key: Scalar | None = None
    size: int = 1
    depth: int = 0


class _Builder:
    """Events to nodes. Mistakes that do not end the reading are collected, others are raised as InputError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mistakes: list[Mistake] = []
        self.total = 0
        self.anchors: dict[str, Node | None] = {}

    def build(self, text: str) -> Node | None:
        loader = yaml.CSafeLoader(text)
        try:
            return self._run(loader, _events(loader))
        finally:
            loader.dispose()

    def _run(self, loader: Any, events: Iterator[Any]) -> Node | None:
        stack: list[_Frame] = []
        root: Node | None = None
        documents = 0
        for event in events:
            mark = Mark(self.name, event.start_mark.line + 1, event.start_mark.column + 1)
            node: Node
            if isinstance(event, yaml.ScalarEvent):
                node = self._scalar(loader, event, mark)
                self._remember(event.anchor, node)
            elif isinstance(event, yaml.AliasEvent):
                node = self._alias(event.anchor, mark)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._open(stack, event, mark)
                continue
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                frame = stack.pop()
                node = self._close(frame)
                self._remember(frame.anchor, node)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise InputError([mark.mistake("not YAML: a second document begins: one file holds one")])
                continue
            else:
                continue
            if stack:
                self._add(stack[-1], node, mark)
            else:
                root = node
        return root

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self.anchors[anchor] = node

    def _count(self, nodes: int, mark: Mark) -> None:
        self.total += nodes
        if self.total > MAX_NODES:
            raise InputError([mark.mistake(f"more than {MAX_NODES:,} values, aliases included")])

    def _alias(self, anchor: str | None, mark: Mark) -> Node:
        node = self.anchors.get(anchor or "")
        if node is None:
            what = "contains itself" if anchor in self.anchors else "is not defined above"
            raise InputError([mark.mistake(f"the alias *{anchor} {what}")])
        self._count(node.size, mark)
        return node

    def _open(self, stack: list[_Frame], event: Any, mark: Mark) -> None:
        self._count(1, mark)
        if len(stack) >= MAX_DEPTH:
            raise InputError([mark.mistake(f"nested more than {MAX_DEPTH} deep")])
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag is not None and event.tag not in ("!", f"{_YAML}{'map' if mapping else 'seq'}"):
            self._bad_tag(event.tag, mark)
        if event.anchor:
            self.anchors[event.anchor] = None
        stack.append(_Frame(mark, event.anchor, mapping))

    def _close(self, frame: _Frame) -> Node:
        if frame.depth >= MAX_DEPTH:
            raise InputError([frame.mark.mistake(f"nested more than {MAX_DEPTH} deep")])
        if not frame.mapping:
            return Sequence(frame.mark, frame.items, frame.size, frame.depth + 1)
        entries = frame.entries
        if frame.merged:
            # As in PyYAML: of several merged mappings the first wins, and the mapping's own keys win over all.
            entries = {}
            for other in reversed(frame.merged):
                entries.update(other.entries)
            entries.update(frame.entries)
        return Mapping(frame.mark, entries, frame.size, frame.depth + 1)

    def _add(self, frame: _Frame, node: Node, mark: Mark) -> None:
        frame.size += node.size
        frame.depth = max(frame.depth, node.depth)
        if isinstance(node, Scalar) and node.kind == "merge" and (not frame.mapping or frame.key is not None):
            self.mistakes.append(mark.mistake("quote this: in YAML 1.1 `<<` is a key that merges mappings"))
        if not frame.mapping:
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self.mistakes.append(mark.mistake("a key is a single word or text, not a list or mapping"))
                node = Scalar(mark, f"?{mark.line}:{mark.column}", "str", "")
            frame.key = node if node.mark == mark else Scalar(mark, node.text, node.kind, node.value)
        else:
            key, frame.key = frame.key, None
            if key.kind == "merge":
                self._merge(frame, node, mark)
            elif key.text in frame.entries:
                first = frame.entries[key.text][0].mark
                self.mistakes.append(key.mark.mistake(f"duplicate key {key.text!r}, first in line {first.line}"))
            else:
                frame.entries[key.text] = (key, node)

    def _merge(self, frame: _Frame, node: Node, mark: Mark) -> None:
        for part in node.items if isinstance(node, Sequence) else [node]:
            if isinstance(part, Mapping):
                frame.merged.append(part)
            else:
                self.mistakes.append(mark.mistake("`<<` takes a mapping or a list of mappings"))

    def _scalar(self, loader: Any, event: Any, mark: Mark) -> Scalar:
        self._count(1, mark)
        tag = event.tag
        literal = tag == "!unsafe"
        if tag is None or literal:
            implicit = (True, False) if literal and not event.style else event.implicit
            tag = loader.resolve(yaml.ScalarNode, event.value, implicit)
        elif tag == "!":
            tag = f"{_YAML}str"
        kind = tag.removeprefix(_YAML)
        if kind not in _KEPT or not tag.startswith(_YAML):
            self._bad_tag(tag, mark)
            kind = "str"
        value: Any = None if kind == "null" else event.value
        if kind in _SCALARS:
            try:
                value = _SCALARS[kind](yaml.ScalarNode(tag, event.value))
            except (ValueError, KeyError, IndexError, yaml.YAMLError):
                self.mistakes.append(mark.mistake(f"{event.value!r} is not a valid {kind}; quote it if it is text"))
        return Scalar(mark, event.value, kind, value, literal)

    def _bad_tag(self, tag: str, mark: Mark) -> None:
        if tag.startswith("!vault"):
            text = VAULT
        elif tag == f"{_YAML}value":
            text = "quote this: YAML 1.1 gives a lone = a meaning of its own"
        elif tag == "!secret":
            text = "the tag !secret would make Ansible drop the file; write {secret: env:NAME}"
        else:
            shown = "!!" + tag.removeprefix(_YAML) if tag.startswith(_YAML) else tag
            text = f"the tag {shown} is not known here"
        self.mistakes.append(mark.mistake(text))


def _events(loader: Any) -> Iterator[Any]:
    while loader.check_event():
        yield loader.get_event()
