r"""Ansible's host patterns: `gpu`, `web*`, `gpu:!gpu03`, `a:&b`, `~gpu\d+`, `gpu[0]`, `gpu[1:3]`.

The rules are those of ansible-core (inventory/manager.py), but a term that names nothing is a mistake.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping

from provision.errors import InputError
from provision.inventory.hostnames import parse_address
from provision.inventory.names import did_you_mean

_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+):([0-9]*))\]")
_TERMS = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")


def match(pattern: str, hosts: Iterable[str], groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the hosts that a pattern stands for, in the order of its terms.

    Args:
        pattern: terms joined by `,` or `:`.
        hosts: all host names in order.
        groups: group name -> hosts in and below it; has `all`.

    Raises:
        InputError: a term names no host and no group, or a regular expression or subscript is wrong.
    """
    names = tuple(hosts)
    terms = _split(pattern)
    if not terms:
        raise InputError(f"the pattern {pattern!r} names no host; use `all` for every host")
    added = [term for term in terms if term[0] not in "&!"] or ["all"]
    found: dict[str, None] = {}
    for term in added:
        found.update(dict.fromkeys(_one(term, names, groups)))
    for term in (term for term in terms if term[0] == "&"):
        kept = set(_one(term[1:], names, groups))
        found = {name: None for name in found if name in kept}
    for term in (term for term in terms if term[0] == "!"):
        dropped = set(_one(term[1:], names, groups))
        found = {name: None for name in found if name not in dropped}
    return tuple(found)


def _split(pattern: str) -> list[str]:
    if "," in pattern:
        terms = pattern.split(",")
    elif parse_address(pattern) is not None:
        terms = [pattern]
    else:
        terms = _TERMS.findall(pattern)
        # Ansible drops what is no part of a term, and `~[` becomes `~`, which is every host.
        if "[" in (rest := _TERMS.sub("", pattern)) or "]" in rest:
            raise InputError(f"the pattern {pattern!r} has a bracket without its other half")
    return [term.strip() for term in terms if term.strip()]


def _one(term: str, hosts: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    if term in hosts:
        return [term]
    expression, first, last = term, None, None
    if not term.startswith("~") and (found := _SUBSCRIPT.fullmatch(term)):
        expression = found[1]
        first = int(found[2] or found[3])
        last = None if found[2] else int(found[4] or -1)
    members = _members(expression, hosts, groups)
    if first is None:
        return members
    if last is None:
        if not -len(members) <= first < len(members):
            raise InputError(f"{term!r}: {expression!r} has {len(members)} hosts; the first one is [0]")
        return [members[first]]
    # Ansible counts the last one in, and takes an end of 0 for "only the first".
    return members[first : len(members) if last == -1 else last + 1] if last else members[first : first + 1]


def _members(expression: str, hosts: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    test = _test(expression)
    in_groups = [name for name in groups if test(name)]
    found = dict.fromkeys(host for name in in_groups for host in groups[name])
    if not in_groups or expression.startswith("~") or any(special in expression for special in ".?*["):
        found.update(dict.fromkeys(name for name in hosts if test(name)))
    if not found and not in_groups:
        if expression.startswith("~") or any(special in expression for special in "?*["):
            raise InputError(f"the pattern {expression!r} matches no host and no group")
        raise InputError(f"there is no host or group {expression!r}{did_you_mean(expression, [*hosts, *groups])}")
    return list(found)


def _test(expression: str) -> Callable[[str], object]:
    if not expression.startswith("~"):
        return re.compile(fnmatch.translate(expression)).match
    try:
        return re.compile(expression[1:]).match
    except re.error as error:
        raise InputError(f"{expression!r} is not a regular expression: {error}") from error
