"""A container of this machine as a host: the same protocol over `docker exec`."""

import shlex
import subprocess
from collections.abc import Sequence

from provision.errors import Unreachable
from provision.host.local import reap, spawn
from provision.host.target import Target
from provision.host.wire import SocketWire, Wire
from provision.values import printable


class ContainerConnection:
    """Starts programs in a running container, by Docker's client: it splits the engine's stream for us."""

    def __init__(self, target: Target) -> None:
        """Look whether the container runs.

        Raises:
            Unreachable: it does not, or Docker cannot be asked.
        """
        self._target = target
        command = ["docker", "inspect", "--type=container", "--format={{.State.Running}}", target.address]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise Unreachable(target.name, f"cannot run docker on this machine: {error.strerror}") from error
        if asked.returncode:
            raise Unreachable(target.name, printable(asked.stderr.strip().rpartition("\n")[2], 200))
        if asked.stdout.strip() != "true":
            raise Unreachable(target.name, f"the container {target.address} does not run", "docker start it")

    def open(self, command: Sequence[str]) -> Wire:
        """Start a program as the target's user, root where none is named."""
        words = shlex.split(" ".join(command))
        argv = ["docker", "exec", "--interactive", "--user", self._target.user or "root", self._target.address]
        ours, child = spawn([*argv, *words], stderr=subprocess.STDOUT)
        return SocketWire(ours, lambda: reap(child))

    def close(self) -> None:
        """Nothing: each program ends with its stream."""
