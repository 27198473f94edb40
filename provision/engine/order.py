"""Hosts that others name come first: a web server is set up after the servers whose models it uses."""

import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Union

from pydantic import BaseModel, RootModel

from provision.inventory.fleet import Fleet, Host
from provision.values import Reference


def waves(fleet: Fleet, hosts: Sequence[Host]) -> list[list[Host]]:
    """The hosts in groups: all of one are worked on before the next. Within each, the order is kept.

    Hosts that name each other in a circle come together.
    """
    chosen = {host.name: host for host in hosts}
    needs = {host.name: _needed(fleet, host) & chosen.keys() for host in hosts}
    done: set[str] = set()
    result: list[list[Host]] = []
    while len(done) < len(chosen):
        left = [host for host in hosts if host.name not in done]
        ready = [host for host in left if needs[host.name] <= done]
        if not ready:
            # A circle: those that need the fewest others, with all that they need, are as good a start as any.
            smallest = min((_closure(needs, host.name) - done for host in left), key=len)
            ready = [host for host in left if host.name in smallest]
        result.append(ready)
        done |= {host.name for host in ready}
    return result


def with_needed(fleet: Fleet, hosts: Sequence[Host]) -> tuple[Host, ...]:
    """These hosts and all whose services they use, in the fleet's order."""
    needs = {name: _needed(fleet, host) for name, host in fleet.hosts.items()}
    names = {name for host in hosts for name in _closure(needs, host.name)}
    return tuple(host for name, host in fleet.hosts.items() if name in names)


def batches(waves: Sequence[Sequence[Host]], sizes: Sequence[str]) -> list[list[Host]]:
    """Each wave cut into batches: `1,25%` is one host, then a quarter of all hosts at a time.

    Raises:
        ValueError: a size is neither a number nor a percentage.
    """
    total = sum(len(wave) for wave in waves)
    counts = [_size(size, total) for size in sizes] or [total or 1]
    result: list[list[Host]] = []
    for wave in waves:
        left = list(wave)
        while left:
            count = counts[min(len(result), len(counts) - 1)]
            result.append(left[:count])
            left = left[count:]
    return result


def _size(text: str, total: int) -> int:
    number = text.strip().removesuffix("%")
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(f"{text!r} is not a number of hosts or a percentage of them")
    return max(1, total * int(number) // 100) if text.strip().endswith("%") else int(number)


def _closure(needs: Mapping[str, set[str]], name: str) -> set[str]:
    found, todo = {name}, [name]
    while todo:
        new = needs[todo.pop()] - found
        found |= new
        todo += new
    return found


def _needed(fleet: Fleet, host: Host) -> set[str]:
    names = {name for settings in host.settings.values() for name in references(settings)}
    return {member.name for name in names for member in fleet.members(name)} - {host.name}


def references(settings: BaseModel) -> Iterator[str]:
    """Names of hosts and groups in settings whose hosts must be there first (`Reference.first`)."""
    for name, info in type(settings).model_fields.items():
        yield from _walk(getattr(settings, name), info.annotation, info.metadata)


def _walk(value: Any, annotation: Any, metadata: Sequence[Any] = ()) -> Iterator[str]:
    if typing.get_origin(annotation) is Annotated:
        annotation, *extra = typing.get_args(annotation)
        metadata = [*metadata, *extra]
    if isinstance(value, str):
        marks = [*metadata, *_marks(annotation)]
        if any(isinstance(mark, Reference) and mark.first for mark in marks):
            yield value
    elif isinstance(value, RootModel | BaseModel):
        yield from references(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inner(key, annotation, Mapping, 0)
            yield from _inner(item, annotation, Mapping, 1)
    elif isinstance(value, Collection) and not isinstance(value, bytes):
        for item in value:
            yield from _inner(item, annotation, Collection, 0)


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _marks(annotation: Any) -> Iterator[Any]:
    """Metadata of the members of a union: `GroupName | None`."""
    for member in _members(annotation):
        if typing.get_origin(member) is Annotated:
            yield from typing.get_args(member)[1:]


def _inner(value: Any, annotation: Any, kind: type, position: int) -> Iterator[str]:
    """Walk an item of a list or a mapping by the annotation that the container gives it."""
    for member in _members(annotation):
        origin, args = typing.get_origin(member), typing.get_args(member)
        if isinstance(origin, type) and issubclass(origin, kind) and len(args) > position:
            yield from _walk(value, args[position])
            return
    if isinstance(value, BaseModel):
        yield from references(value)
