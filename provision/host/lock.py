"""The lock of a host: `flock` on a descriptor of the root shell, so that it ends with the session, whatever ends it.

Nothing that the shell starts inherits the descriptor. Beside the lock lie who holds it and a heartbeat: after a
control machine has gone to sleep, its sshd may keep the shell for hours, so a holder that has been silent for a
minute and runs nothing is ended.
"""

import threading
import time
from datetime import datetime

from provision.errors import HostRefused, SessionLost
from provision.host.shell import RootShell
from provision.values import printable, quote

_WAIT = 3.0
_BEAT = 15.0
_SILENT = 60

# Runs inside the loop's own shell; $d and $$ are the loop's.
_TAKE = """
command -v flock >/dev/null || return 69
exec 9>>$d/lock
if flock -n 9; then
  printf "%%s\\n" %(owner)s "$(date +%%s)" $$ >$d/owner
  : >$d/beat
else
  exec 9>&-
  return 75
fi
"""

_ASK = """
cd %(directory)s || exit 1
{ read -r owner; read -r since; read -r pid; } <owner
now=$(date +%%s)
silent=$((now - $(date -r beat +%%s)))
if [ $silent -gt %(silent)d ] && ! grep -qs "^PPid:[[:space:]]*$pid\\$" /proc/[0-9]*/status; then kill "$pid"; fi
printf "%%s\\n" "$owner" "$since" "$((now - since))"
"""


class Lock:
    """The lock of one host, held until `release`."""

    def __init__(self, shell: RootShell) -> None:
        self._shell = shell
        self._over = threading.Event()
        self.held = False

    def take(self, owner: str) -> None:
        """See `Session.lock`. Waits 3 s for one that is just ending."""
        if self.held:
            return
        script = _TAKE % {"owner": quote(printable(owner, 200).replace("\n", " "))}
        deadline = time.monotonic() + _WAIT
        while rc := self._shell.inside(script).rc:
            if rc == 69:
                raise HostRefused(self._shell.name, "flock is not installed", "install the package util-linux")
            holder = self._holder()
            if time.monotonic() > deadline:
                raise HostRefused(self._shell.name, holder, "wait until it ends, then try again")
            time.sleep(0.25)
        self.held = True
        threading.Thread(target=self._beat, name=f"heartbeat {self._shell.name}", daemon=True).start()

    def release(self) -> None:
        """Stop the heartbeat; the lock itself ends with the root shell."""
        self._over.set()

    def _holder(self) -> str:
        values = {"directory": self._shell.directory, "silent": _SILENT}
        owner, since, age, *_ = [*self._shell.run(_ASK % values, 15.0, None, 4096).text.splitlines(), "", "", ""]
        if not (since.isdecimal() and age.isdecimal()):
            return "another run holds the lock"
        when = datetime.fromtimestamp(int(since)).strftime("%Y-%m-%d %H:%M:%S")
        return f"another run holds the lock: {printable(owner, 200)}, since {when} ({int(age) // 60} min)"

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            try:
                self._shell.beat()
            except SessionLost:
                return
