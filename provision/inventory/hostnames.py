"""Names of hosts in an inventory: ports, `[01:12]` ranges. The rules are Ansible's (parsing/utils/addresses)."""

import ipaddress
import re
import string
from itertools import islice

MAX_HOSTS = 10_000

_RANGE = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]"
_LABEL = rf"(?:\w|{_RANGE})(?:[\w-]|{_RANGE})*(?<![_-])"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(.+)\]:([0-9]+)")
_HOSTPORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)")
_FIRST_RANGE = re.compile(r"\[([^\]]*)\]")


def parse_address(text: str) -> tuple[str, int | None] | None:
    """Split `host`, `host:port` or `[address]:port`; None when it is no host name. The host may contain ranges."""
    port = None
    for form in (_BRACKETED, _HOSTPORT):
        if found := form.fullmatch(text):
            text, port = found[1], int(found[2])
    return (text, port) if _HOSTNAME.fullmatch(text) or is_ip(text) else None


def is_ip(text: str) -> bool:
    """It is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """`localhost` or a loopback address."""
    return text == "localhost" or (is_ip(text) and ipaddress.ip_address(text).is_loopback)


def expand(text: str) -> tuple[list[str], int | None]:
    """The host names and the port that a key below `hosts:` stands for.

    Raises:
        ValueError: it is no host name, or a range is wrong.
    """
    parsed = parse_address(text)
    if parsed is None:
        for bounds in _FIRST_RANGE.findall(text):
            _span(bounds)
        raise ValueError(f"{text!r} is not a host name")
    host, port = parsed
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{port} is not a port")
    names = [host]
    while "[" in names[0]:
        names = [name for pattern in names for name in _expand_first(pattern)]
        if len(names) > MAX_HOSTS:
            raise ValueError(f"{text!r} stands for more than {MAX_HOSTS:,} hosts")
    return names, port


def _expand_first(pattern: str) -> list[str]:
    found = _FIRST_RANGE.search(pattern)
    if not found:
        return [pattern]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [f"{head}{item}{tail}" for item in islice(_span(found[1]), MAX_HOSTS + 1)]


def _span(bounds: str) -> list[str]:
    parts = bounds.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1]:
        raise ValueError(f"the range [{bounds}] is not [first:last] or [first:last:step]")
    first, last = parts[:2]
    step = int(parts[2]) if len(parts) == 3 and parts[2].isdecimal() else 1
    letters = string.ascii_letters
    if step < 1 or (len(parts) == 3 and not parts[2].isdecimal()):
        raise ValueError(f"the step of the range [{bounds}] is not 1 or more")
    if len(first) == len(last) == 1 and first in letters and last in letters:
        items = list(letters[letters.index(first) : letters.index(last) + 1 : step])
    elif first.isdecimal() and last.isdecimal():
        padded = len(first) if first[0] == "0" and len(first) > 1 else 0
        if padded and padded != len(last):
            raise ValueError(f"the ends of the range [{bounds}] have different lengths: write [01:12], not [01:9]")
        span = range(int(first), int(last) + 1, step)
        items = [str(number).zfill(padded) for number in islice(span, MAX_HOSTS + 1)]
    else:
        raise ValueError(f"the range [{bounds}] is not of numbers or single letters")
    if not items:
        raise ValueError(f"the range [{bounds}] ends before it begins")
    return items
