"""A root shell of this machine with a `/run` of its own, under the shell and the tools of one's choice."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.host.connect import RootSession
from provision.host.local import reap, spawn
from provision.host.target import Target
from provision.host.wire import SocketWire, Wire

SHELLS = ("dash", "bash", "busybox")
_TOOLS = "cat date grep head kill mkdir mv rm setsid sha256sum sleep tail tee timeout wc"

# In a mount namespace: the chosen shell is /bin/sh, its tools come first in the program's PATH.
_SETUP = """
mount --bind "$1" /run && mount --bind "$(command -v "$2")" /bin/sh || exit 1
if [ "$2" = busybox ]; then
  b=$(command -v busybox)
  mount -t tmpfs tmpfs /usr/local/sbin || exit 1
  for tool in %s; do ln -s "$b" "/usr/local/sbin/$tool"; done
fi
shift 2
exec "$@"
"""


@dataclass(frozen=True)
class Sandbox:
    """A `Connection`. All programs that are opened on it share `run` as their `/run`; systemd is not in it."""

    run: Path
    shell: str = "dash"

    def open(self, command: Sequence[str]) -> Wire:
        """Start a program as root of a user namespace, or as root."""
        words = shlex.split(" ".join(command))
        namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        inner = ["/bin/bash", "-c", _SETUP % _TOOLS, "setup", str(self.run), self.shell]
        ours, child = spawn([*namespace, *inner, *words], stderr=subprocess.STDOUT)
        return SocketWire(ours, lambda: reap(child))

    def close(self) -> None:
        """Nothing is left to close."""

    def session(self) -> RootSession:
        """A session on it."""
        return RootSession(Target("sandbox", kind="local"), self)
