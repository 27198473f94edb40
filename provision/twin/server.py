"""A container that is a server: what its systemd needs, a port that it keeps over reboots, whether its sshd answers."""

import random
import socket
from collections.abc import Mapping
from typing import Any

from docker.errors import APIError

# What systemd needs, short of `--privileged`: that one fails where the machine itself lacks a capability, and gives
# the host the clock and the modules of the machine.
LIKE_A_SERVER: Mapping[str, Any] = {
    "cap_add": ["ALL"],
    "cap_drop": ["SYS_RESOURCE", "SYS_TIME", "SYS_MODULE"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
    "device_cgroup_rules": ["a *:* rwm"],
    "cgroupns": "private",
    # `systemctl reboot` in the host ends the container; the engine starts it again.
    "restart_policy": {"Name": "unless-stopped"},
}
"""Arguments of `create_host_config`."""

ALL_OF_PROC: Mapping[str, Any] = {"MaskedPaths": [], "ReadonlyPaths": []}
"""To be merged into its result: `docker run --security-opt systempaths=unconfined`, which the SDK has no word for."""


def free_port(at: str = "127.0.0.1") -> int:
    """A port below the range from which the kernel gives ports to clients: a reboot of the host finds it free again.

    (One that Docker chooses is another one after each reboot.)
    """
    while True:
        port = random.randrange(20000, 32000)
        try:
            socket.create_connection((at, port), timeout=2).close()
        except OSError:
            return port


def is_taken(error: APIError) -> bool:
    """Whether a container does not start because somebody else has its port by now."""
    return "port is already allocated" in str(error) or "address already in use" in str(error)


def has_banner(port: int, at: str = "127.0.0.1") -> bool:
    """Whether sshd answers there: connect() alone says nothing, Docker's proxy accepts before sshd listens."""
    try:
        with socket.create_connection((at, port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
