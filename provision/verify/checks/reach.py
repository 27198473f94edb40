"""What can be reached from the control machine."""

import ipaddress
import socket
from dataclasses import dataclass

from provision.verify.check import Verdict

NAME = "reachable ports"
_PATIENCE = 2.0
"""Seconds to wait for an answer: a port that is filtered says nothing."""


@dataclass(frozen=True)
class Answers:
    """What came of a TCP connect: `open`, or why not."""

    address: str
    port: int
    open: bool
    why: str = ""


def knock(address: str, port: int) -> Answers:
    """Try to connect."""
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE):
            return Answers(address, port, True)
    except OSError as error:
        return Answers(address, port, False, str(error))


def judge(answers: Answers) -> Verdict:
    """A port that listens on loopback only must not answer. Pure."""
    if answers.open:
        where = f"{answers.address}:{answers.port}"
        return Verdict("failed", f"{where} answers, although ollama.listen is loopback: anyone there can use it")
    return Verdict("passed", f"{answers.port} is closed")


def closed(address: str, port: int) -> Verdict:
    """Whether a port that should be reached by the host alone is closed from here."""
    if not address:
        return Verdict("failed", "the host has no address to try; set `address` in the inventory")
    if _is_loopback(address):
        return Verdict("skipped", f"its address {address} is this machine itself")
    return judge(knock(address, port))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
