"""Who can get in: which TCP ports of a host answer, from this machine and from every other host of the fleet.

What is declared answers those it is declared for, and nothing else that listens on more than loopback answers anybody.
"""

import ipaddress
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from provision.dataclass import dataclass
from provision.facts.model import Listener
from provision.facts.network import listeners
from provision.facts.records import Records
from provision.resources.base import Section
from provision.values import quote
from provision.verify.check import Verdict
from provision.verify.checks.sources import Asked, Told
from provision.view import OpenPort

NAME = "reachable ports"
HERE = "this machine"
_PATIENCE = 2
"""Seconds to wait for an answer: a port that is filtered says nothing."""
_AT_ONCE = 32
_A_CURL = 200
"""Tries by one curl: a command line has its bounds."""
_LOGIN_PORT = 22
_LOGIN = ("sshd", "dropbear")
"""The way in by which we came is not declared. (A socket unit of sshd belongs to systemd: then the port tells.)"""


@dataclass(frozen=True)
class Knock:
    """A TCP connect to a port.

    Args:
        source: who tried, a host's name or `HERE`.
        address: of who tried, as the port's host would see it; "" when it is not known.
        port: on the other side.
        open: somebody answered.
    """

    source: str
    address: str
    port: int
    open: bool


@dataclass(frozen=True)
class Doors:
    """What is known of a host's ports.

    Args:
        address: where peers reach it.
        declared: by its roles.
        listeners: as the host says.
        published: by Docker, which asks no firewall.
    """

    address: str
    declared: tuple[OpenPort, ...] = ()
    listeners: tuple[Listener, ...] = ()
    published: frozenset[int] = frozenset()

    @property
    def ports(self) -> tuple[int, ...]:
        """All that are worth a try. Not the way in by which we came: each try would start a process of sshd."""
        open_to_others = {one.port for one in self.listeners if not (_is_loopback(one.address) or _is_login(one))}
        return tuple(sorted(open_to_others | self.published | {one.port for one in self.declared}))


def question() -> str:
    """Fragment: who listens, as `facts.network.listeners` reads it, and what Docker publishes."""
    told = Told("list")
    return Asked(f"{_LISTENING}if command -v docker >/dev/null 2>&1; then {told.call}; fi\n", answers=[told])


_LISTENING = """\
if command -v ss >/dev/null 2>&1; then
    timeout 10 ss -H -l -t -n -p
else
    for t in tcp tcp6; do
        grep -E '^ *[0-9]+: [0-9A-F:]+ [0-9A-F:]+ 0A ' "/proc/net/$t" 2>/dev/null | sed "s/^/$t=/"
    done
fi
"""


def listening(answer: Section) -> tuple[Listener, ...]:
    """Who listens, by the answer to `question`."""
    # `ss` begins its lines with the state.
    return listeners(Records(re.sub(rb"(?m)^LISTEN ", b"ss=LISTEN ", answer.out)))


def published(answer: Section) -> frozenset[int]:
    """TCP ports that containers publish on more than loopback, by the answer to `question`.

    Raises:
        ValueError: what Docker says cannot be read.
    """
    told = [json.loads(line.removeprefix("list ")) for line in answer.lines if line.startswith("list ")]
    found: set[int] = set()
    for one in (one for item in told for one in (item if isinstance(item, list) else [item])):
        found |= _by_text(one["Ports"]) if isinstance(one["Ports"], str) else set(_by_api(one["Ports"] or []))
    return frozenset(found)


def _by_api(ports: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    for port in ports:
        if port.get("Type") == "tcp" and port.get("PublicPort") and not _is_loopback(str(port.get("IP") or "")):
            yield int(port["PublicPort"])


def _by_text(text: str) -> set[int]:
    """As `docker ps` writes it, with ranges."""
    found: set[int] = set()
    for address, first, last in re.findall(r"(\S+):(\d+)(?:-(\d+))?->\d+(?:-\d+)?/tcp", text):
        if not _is_loopback(address.strip("[]")):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def knock(address: str, ports: Iterable[int]) -> list[Knock]:
    """Try ports from this machine."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda port: _knock(address, port), ports))


def _knock(address: str, port: int) -> Knock:
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE) as connection:
            return Knock(HERE, str(connection.getsockname()[0]), port, True)
    except OSError:
        return Knock(HERE, "", port, False)


def script(targets: Mapping[str, Sequence[int]]) -> str:
    """Try ports from a host, by curl: `ADDRESS PORT SECONDS` a line; 0 seconds where nobody answered.

    One process for all of them: a fleet of n hosts tries n times n ports.

    Args:
        targets: address -> ports.
    """
    tries = [
        # What is said after the connect does not matter, so that it is cut off soon.
        f"-sS --noproxy '*' --connect-timeout {_PATIENCE} --max-time {_PATIENCE}.2 -o /dev/null "
        f"-w {quote(f'{address} {port} ')}'%{{time_connect}}\\n' "
        + quote(f"http://{f'[{address}]' if ':' in address else address}:{port}/")
        for address, ports in targets.items()
        for port in ports
    ]
    lines = ["command -v curl >/dev/null || exit 3"]
    for first in range(0, len(tries), _A_CURL):
        several = " --next ".join(tries[first : first + _A_CURL])
        lines.append(f"curl --parallel --parallel-max {_AT_ONCE} {several} 2>/dev/null")
    return "\n".join((*lines, "exit 0", ""))


def parse(text: str, source: str, address: str) -> dict[str, list[Knock]]:
    """What `script` printed on a host: address -> knocks. Lines that are none are left out."""
    found: dict[str, list[Knock]] = {}
    for target, port, seconds in re.findall(r"(?m)^(\S+) (\d{1,5}) ([0-9.,]+)$", text):
        answered = float(seconds.replace(",", ".")) > 0
        found.setdefault(target, []).append(Knock(source, address, int(port), answered))
    return found


def judge(doors: Doors, knocks: Sequence[Knock]) -> Verdict:
    """Every answer is one that is declared, and what listens for others answers them."""
    if not doors.address:
        return Verdict("failed", "the host has no address to try; set `address` in the inventory")
    if not doors.ports:
        return Verdict("passed", "nothing but the way in listens for others")
    if not knocks:
        return Verdict("skipped", f"nobody else is there to try {doors.address}")
    complaints = [text for port in doors.ports for text in _complaints(doors, port, knocks)]
    sources = len({one.source for one in knocks})
    answering = sorted({one.port for one in knocks if one.open})
    return Verdict.of(complaints, f"{', '.join(map(str, answering)) or 'none'} answer, tried from {sources}")


def _complaints(doors: Doors, port: int, knocks: Sequence[Knock]) -> Iterator[str]:
    mine = [one for one in knocks if one.port == port]
    rules = [one for one in doors.declared if one.port == port]
    where = f"{doors.address}:{port}"
    answered = [one for one in mine if one.open]
    if not rules:
        process = next((one.process for one in doors.listeners if one.port == port and one.process), "")
        if answered:
            yield f"{where}{f' ({process})' if process else ''} answers {_who(answered)}, and nothing declares it"
        return
    wrong = [one for one in answered if not any(may(rule, one) for rule in rules)]
    if wrong:
        yield f"{where} answers {_who(wrong)}, although {rules[0].why}"
    # Where nothing listens, a service is down, which its own check tells; here something is in the way.
    listens = port in doors.published or any(one.port == port for one in doors.listeners)
    silent = [one for one in mine if not one.open and any(may(rule, one) for rule in rules)]
    if silent and listens:
        yield f"{where} does not answer {_who(silent)}, although {rules[0].why}"


def may(rule: OpenPort, who: Knock) -> bool:
    """Whether a port is declared open for who tried."""
    if rule.sources is None:
        return True
    try:
        address = ipaddress.ip_address(who.address)
        return any(address in ipaddress.ip_network(source, strict=False) for source in rule.sources)
    except ValueError:
        # A source that is a name: firewalls resolve it themselves, here only the name itself counts.
        return who.address in rule.sources


def _who(knocks: Sequence[Knock]) -> str:
    return ", ".join(dict.fromkeys(one.source for one in knocks))


def _is_login(listener: Listener) -> bool:
    return listener.process in _LOGIN or listener.port == _LOGIN_PORT


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
