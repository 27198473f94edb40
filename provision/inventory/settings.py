"""Role settings: nodes to what pydantic takes, and pydantic's errors back to places in a file.

A node is shaped by the annotation of its field: text fields get the scalar's text, `Any` gets what YAML makes of it,
secrets become `Secret`, and references to hosts and groups are noted to be looked up.
"""

import types
import typing
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, JsonValue, RootModel, ValidationError
from pydantic.fields import FieldInfo

from provision.dataclass import dataclass
from provision.errors import Mistake
from provision.inventory.document import Mapping, Mark, Node, Scalar, Sequence, is_null, value_of
from provision.inventory.findings import Findings
from provision.inventory.names import did_you_mean
from provision.values import Reference, Secret, printable

_NAMED = {"string": "text", "dictionary": "a mapping", "list": "a list", "tuple": "a list"}
_NAMED |= {"integer": "a whole number", "boolean": "true or false", "number": "a number"}
_SHOWS_VALUE = frozenset(
    {"int_parsing", "int_type", "int_from_float", "float_parsing", "bool_parsing", "literal_error", "enum"}
    | {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "string_pattern_mismatch"}
)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Key as it stands in YAML -> field."""
    keys: dict[str, FieldInfo] = {}
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    for name, info in model.model_fields.items():
        alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
        keys[alias or name] = info
        if alias and by_name:
            keys[name] = info
    return keys


class Shaper:
    """Nodes to plain values by annotation. `base` is the folder that relative paths of secrets start from."""

    def __init__(self, base: Path, findings: Findings) -> None:
        self.base = base
        self.found = findings

    def shape(self, node: Node, annotation: Any, metadata: Iterable[Any] = ()) -> Any:
        """What pydantic is given for a node. Mistakes that pydantic would report less well are noted."""
        annotation, extra = _plain(annotation)
        notes = [*metadata, *extra]
        arm = self._arm(node, annotation, notes) if _is_union(annotation) else (annotation, notes)
        annotation, notes = arm
        if _is_root(annotation):
            info = annotation.model_fields["root"]
            return self.shape(node, info.annotation, info.metadata)
        if annotation is Any or annotation is object or annotation is JsonValue:
            return value_of(node)
        if isinstance(node, Mapping):
            return self._mapping(node, annotation)
        if isinstance(node, Sequence):
            return [self.shape(item, inner) for item, inner in zip(node.items, _items(annotation, node), strict=False)]
        return self._scalar(node, annotation, notes)

    def _scalar(self, node: Scalar, annotation: Any, notes: list[Any]) -> Any:
        if node.kind == "null":
            return None
        for note in notes:
            if isinstance(note, Reference):
                self.found.references.append((node.mark, node.text, note))
        if typing.get_origin(annotation) is Literal and node.text not in typing.get_args(annotation):
            return node.value
        return node.text

    def _mapping(self, node: Mapping, annotation: Any) -> Any:
        if annotation is Secret:
            return self._secret(node)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self._model(node, annotation)
        args = typing.get_args(annotation)
        inner = args[1] if _is_dict(annotation) and len(args) == 2 else Any
        # Where null is a legal value (`models: {qwen3: }`), it stays an entry without settings of its own.
        kept = list(node.entries.values()) if _takes_null(inner) else list(node.present())
        if len(args) == 2:
            key_annotation, key_notes = _plain(args[0])
            for key, _ in kept:
                self._scalar(key, key_annotation, key_notes)
        return {key.text: self.shape(value, inner) for key, value in kept}

    def _model(self, node: Mapping, model: type[BaseModel]) -> dict[str, Any]:
        known = fields_of(model)
        shaped: dict[str, Any] = {}
        for key, value in node.present():
            name = key.text
            info = known.get(name)
            if info is not None:
                if not is_null(value):
                    shaped[name] = self.shape(value, info.annotation, info.metadata)
            elif model.model_config.get("extra") == "forbid":
                text = f"unknown key {name!r}{did_you_mean(name, known)}"
                self.found.mistakes.append(key.mark.mistake(text))
            else:
                shaped[name] = value_of(value)
        return shaped

    def _secret(self, node: Mapping) -> Any:
        value = value_of(node)
        source = value.get("secret")
        kind = str(source).partition(":")[0]
        if set(value) != {"secret"} or kind not in ("env", "file", "cmd"):
            return value
        secret = Secret(str(source), base=self.base)
        self.found.secrets.append((node.mark, secret))
        return secret

    def _arm(self, node: Node, annotation: Any, notes: list[Any]) -> tuple[Any, list[Any]]:
        """The member of a union that a node is meant for."""
        arms = [(plain, [*notes, *extra]) for plain, extra in map(_plain, typing.get_args(annotation))]
        arms = [inner for arm in arms for inner in ([self._arm(node, *arm)] if _is_union(arm[0]) else [arm])]
        best = max(arms, key=lambda arm: _fit(node, arm[0]))
        return best if _fit(node, best[0]) > 0 else (Any, [])


def _fit(node: Node, annotation: Any) -> float:
    """How well a node fits an annotation; 0 when not at all."""
    if annotation is Any or annotation is object or annotation is JsonValue:
        return 0.5
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if _is_root(annotation):
        inner, _ = _plain(annotation.model_fields["root"].annotation)
        members = typing.get_args(inner) if _is_union(inner) else (inner,)
        return max(_fit(node, _plain(member)[0]) for member in members)
    if isinstance(node, Mapping):
        if annotation is Secret:
            return 3 if "secret" in node.entries and len(node.entries) == 1 else 0
        if is_model:
            known = fields_of(annotation)
            tags = [name for name, info in known.items() if typing.get_origin(info.annotation) is Literal]
            wrong = [tag for tag in tags if tag in node.entries and not _says(node, tag, known[tag].annotation)]
            return 1 + sum(name in known for name in node.entries) / (1 + len(node.entries)) - len(wrong) * 0.5
        return 1 if _is_dict(annotation) else 0
    if isinstance(node, Sequence):
        return 1 if _is_list(annotation) else 0
    if annotation is type(None):
        return 3 if node.kind == "null" else 0
    if typing.get_origin(annotation) is Literal:
        return 2.5 if node.text in typing.get_args(annotation) or node.value in typing.get_args(annotation) else 0.2
    if is_model or annotation is Secret or _is_dict(annotation) or _is_list(annotation):
        return 0.1 if annotation is Secret else 0
    if annotation in (int, float, bool):
        return 2 if type(node.value) is annotation else 0.3
    return 1


def _says(node: Mapping, name: str, annotation: Any) -> bool:
    value = node.entries[name][1]
    return isinstance(value, Scalar) and value.text in map(str, typing.get_args(annotation))


def _plain(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without `Annotated` and type aliases, and the metadata that was around it."""
    notes: list[Any] = []
    while annotation is not JsonValue:
        if typing.get_origin(annotation) is Annotated:
            annotation, *extra = typing.get_args(annotation)
            notes += extra
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            break
    return annotation, notes


def _is_root(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, RootModel)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (Union, types.UnionType)


def _takes_null(annotation: Any) -> bool:
    annotation, _ = _plain(annotation)
    return _is_union(annotation) and type(None) in typing.get_args(annotation)


def _origin(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation


def _is_dict(annotation: Any) -> bool:
    origin = _origin(annotation)
    return isinstance(origin, type) and issubclass(origin, MappingABC)


def _is_list(annotation: Any) -> bool:
    origin = _origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, str | MappingABC)


def _items(annotation: Any, node: Sequence) -> Iterator[Any]:
    """The annotation of each item of a list."""
    args = typing.get_args(annotation)
    if _origin(annotation) is tuple and args and args[-1] is not Ellipsis:
        yield from args
        args = ()
    for _ in node.items:
        yield args[0] if args else Any


def validate(
    role: str, model: type[BaseModel], node: Node, absent: Mark, base: Path, findings: Findings
) -> BaseModel | None:
    """The settings of a role, or None with mistakes noted.

    Args:
        role: its name, for messages.
        model: its settings.
        node: the merged node; null when nothing is set.
        absent: where to point when the role has no settings at all and needs some.
        base: the folder that relative paths of secrets start from.
        findings: collects.
    """
    before = len(findings.mistakes)
    try:
        settings = model() if is_null(node) else model.model_validate(Shaper(base, findings).shape(node, model))
    except ValidationError as error:
        findings.mistakes += _mistakes(role, node, absent, error)
        return None
    return settings if len(findings.mistakes) == before else None


@dataclass(frozen=True)
class _Place:
    """Where pydantic's location leads: the path as a user would write it, the place, the node, a key that is missing.

    `union` is the path of the union that the location goes through, and `member` pydantic's name of its member.
    """

    path: str
    mark: Mark
    node: Node
    missing: str = ""
    union: str | None = None
    member: str = ""


def _mistakes(role: str, node: Node, absent: Mark, error: ValidationError) -> list[Mistake]:
    """One mistake for each place. Of a union's members only those count that fit deepest; equals are joined."""
    found = [
        (_locate(role, node, absent, item["loc"], item["type"] == "missing"), item)
        for item in error.errors(include_url=False)
    ]
    depths: dict[str, dict[str, int]] = {}
    for place, _ in found:
        if place.union is not None:
            members = depths.setdefault(place.union, {})
            members[place.member] = max(members.get(place.member, 0), len(place.path))
    mistakes = []
    alternatives: dict[tuple[str, Mark], tuple[list[str], str]] = {}
    for place, item in found:
        text, value = _message(item, place)
        members = depths.get(place.union or "", {})
        if not members:
            mistakes.append(place.mark.mistake(f"{place.path}: {text}{value}"))
        elif members[place.member] == max(members.values()):
            alternatives.setdefault((place.path, place.mark), ([], value))[0].append(text)
    for (path, mark), (texts, value) in alternatives.items():
        first, *others = dict.fromkeys(texts)
        joined = " or ".join([first, *(text.removeprefix("should be ") for text in others)])
        mistakes.append(mark.mistake(f"{path}: {joined}{value}"))
    return mistakes


def _locate(role: str, node: Node, absent: Mark, loc: tuple[int | str, ...], is_missing: bool) -> _Place:
    path, mark, here = role, absent if is_null(node) else node.mark, node
    union: str | None = None
    member = missing = ""
    for index, part in enumerate(loc):
        if isinstance(here, Mapping) and str(part) in here.entries:
            key, value = here.entries[str(part)]
            if is_missing and is_null(value):
                return _Place(path, value.mark, value, str(part), union, member)
            here = value
            path, mark = f"{path}.{part}", here.mark
            if loc[index + 1 :] == ("[key]",):
                return _Place(path, key.mark, key, "", union, member)
        elif isinstance(here, Sequence) and isinstance(part, int) and part < len(here.items):
            here = here.items[part]
            path, mark = f"{path}[{part}]", here.mark
        else:
            # A key that is not there, or pydantic's name for the member of a union.
            missing = str(part)
            if union is None and not (is_missing and index == len(loc) - 1):
                union, member = path, missing
    return _Place(path, mark, here, missing, union, member)


def _message(item: Any, place: _Place) -> tuple[str, str]:
    """What is wrong, and the value that is there when it may be shown."""
    if item["type"] == "missing":
        return f"`{place.missing or item['loc'][-1]}` is missing", ""
    text: str = item["msg"]
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ").removeprefix("Input ")
    text = text.split(" or instance of ")[0].split(", unable to ")[0]
    text = text.replace("String should match pattern", "should match")
    for theirs, ours in _NAMED.items():
        text = text.replace(f"a valid {theirs}", ours)
    if item["type"] not in _SHOWS_VALUE or not isinstance(place.node, Scalar):
        return text, ""
    expected = str(item.get("ctx", {}).get("expected", ""))
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")] if expected else []
    hint = did_you_mean(place.node.text, choices) if choices else ""
    return text, f", not {printable(place.node.text, 60)!r}{hint if 'mean' in hint else ''}"
