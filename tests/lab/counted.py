"""What a run costs a host: connections and channels by its sshd, requests by its root shell."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.lab.hosts import LabHost
from tests.lab.wait import until

_REQUESTS = "/var/log/provision-requests"
_HEAD = "/usr/local/sbin/head"
_DEBUG = "/etc/ssh/sshd_config.d/debug.conf"
# The loop of the root shell reads each request with `head -c N`, found by a PATH that begins with /usr/local/sbin.
# Scripts use head as well: only a child of the loop counts, whose command line is the loop's program.
_WRAPPER = f"""\
#!/bin/sh
[ $# = 2 ] && tr '\\0' ' ' </proc/$PPID/cmdline | grep -q 'read -r k n l p' && echo "$*" >>{_REQUESTS}
exec /usr/bin/head "$@"
"""


@dataclass
class Cost:
    """What one run cost; known after the block. Commands are what sshd was asked to start, SFTP included."""

    connections: int = 0
    channels: int = 0
    commands: int = 0
    requests: int = 0


@contextmanager
def counted(*hosts: LabHost) -> Iterator[dict[str, Cost]]:
    """Count what runs in the block cost each host, by its name."""
    costs = {host.name: Cost() for host in hosts}
    with ExitStack() as stack:
        since = {host.name: stack.enter_context(_watched(host)) for host in hosts}
        yield costs
        for host in hosts:
            log = until(lambda host=host: _closed(host, since[host.name]), f"{host.name}: sshd's log")  # type: ignore[misc]
            cost = costs[host.name]
            cost.connections = len(re.findall(r"Connection from", log))
            cost.channels = len(re.findall(r"server_input_channel_open: ctype session", log))
            cost.commands = len(re.findall(r"server_input_channel_req: .* request (?:exec|shell|subsystem) ", log))
            cost.requests = len(host.check(f"cat {_REQUESTS}").splitlines())


@contextmanager
def _watched(host: LabHost) -> Iterator[str]:
    """sshd at DEBUG1 and the wrapper in place; gives the time from which its log counts."""
    host.put(_HEAD, _WRAPPER.encode(), mode=0o755)
    host.put(_DEBUG, b"LogLevel DEBUG1\n")
    host.check(f": >{_REQUESTS}; systemctl reload ssh && journalctl --rotate && journalctl --vacuum-time=1s")
    try:
        yield host.check("date +%s").strip()
    finally:
        host.check(f"rm {_HEAD} {_DEBUG} {_REQUESTS}; systemctl reload ssh")


def _closed(host: LabHost, since: str) -> str:
    """sshd's log once no connection is open any more."""
    log = host.check(f"journalctl -t sshd -t sshd-session -o cat --since @{since}")
    opened, closed = log.count("Connection from"), log.count("Closing connection")
    return log if opened and closed >= opened else ""
