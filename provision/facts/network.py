"""The host's own address and its listening sockets."""

import ipaddress
import re
import struct

from provision.facts.model import Listener
from provision.facts.records import Records, number

_SS = re.compile(r"LISTEN\s+\d+\s+\d+\s+(\S+):(\d{1,5})\s+\S+(?:\s+users:\(\(\"([^\"]{1,64})\")?", re.ASCII)
_SOCKET = re.compile(r"\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A ", re.ASCII)


def address(records: Records) -> str:
    """The address on the way to everybody else, "" when the host has none but loopback."""
    for line in records.all("ip"):
        if match := re.search(r" src (\S+)", line) or re.search(r" inet (\S+?)/\d+ ", line):
            return _ip(match[1])
    return _from_proc(records)


def listeners(records: Records) -> tuple[Listener, ...]:
    """Listening TCP sockets by port, from `ss` or from /proc/net/tcp and tcp6."""
    found = set()
    for line in records.all("ss"):
        if match := _SS.match(line):
            host = match[1].strip("[]").partition("%")[0]
            found.add(Listener(_ip("::" if host == "*" else host), number(match[2]), match[3] or ""))
    for line in (*records.all("tcp"), *records.all("tcp6")):
        if match := _SOCKET.match(line):
            found.add(Listener(_from_hex(match[1]), int(match[2], 16)))
    return tuple(
        sorted((item for item in found if item.address), key=lambda item: (item.port, item.address, item.process))
    )


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _from_hex(text: str) -> str:
    """The kernel prints 32-bit words in the machine's own order: little-endian on amd64 and arm64."""
    words = struct.pack(f"<{len(text) // 8}I", *(int(text[i : i + 8], 16) for i in range(0, len(text), 8)))
    return str(ipaddress.ip_address(words))


def _from_proc(records: Records) -> str:
    """Without iproute2: the local address (fib_trie) inside a network of the interface with the default route."""
    routes = [fields for line in records.all("route") if len(fields := line.split()) >= 8]
    default = next((fields[0] for fields in routes if fields[1] == fields[7] == "00000000"), "")
    networks = []
    for fields in routes:
        words = [fields[1], fields[7]]
        if fields[0] == default and all(re.fullmatch("[0-9A-F]{8}", word) for word in words) and words[1] != "0" * 8:
            networks.append(f"{_from_hex(words[0])}/{_from_hex(words[1])}")
    local, last = [], ""
    for line in records.all("fib"):
        if match := re.fullmatch(r"\|-- (\S+)", line):
            last = _ip(match[1])
        elif last and "/32 host LOCAL" in line:
            local.append(last)
    for network in networks:
        try:
            inside = ipaddress.ip_network(network)
        except ValueError:
            continue
        for candidate in local:
            if ipaddress.ip_address(candidate) in inside:
                return candidate
    return ""
