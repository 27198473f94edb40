"""Jobs: long work on a host that outlives the connection, started by `systemd-run`, watched through its log.

A job is a directory of `/run/provision/jobs`: `script`, `run` (the frame around it), `log`, and at the end `rc`. That
file is the truth: what systemd knew of a collected unit is gone. Where systemd does not run, `setsid` starts the job
and `pid` stands for the unit.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from provision.errors import HostError
from provision.host.session import Answer
from provision.host.shell import RootShell, with_secrets
from provision.resources.base import Job, Progress
from provision.values import printable, quote

_PIECE = 256 << 10
_TAIL = 64 << 10
_LONGEST_LINE = 1 << 20
_PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0)

_PRELUDE = """\
n=%(name)s j=%(directory)s/jobs/%(name)s u=provision-%(name)s.service
alive() {
  [ -f "$j/pid" ] || { systemctl is-active -q "$u" 2>/dev/null; return; }
  read -r p <"$j/pid"
  # in a container whose first process reaps no orphans, an ended one stays as a zombie
  { read -r stat <"/proc/$p/stat"; } 2>/dev/null && case $stat in *") Z "*) false ;; esac
}
"""

_START = """\
umask 077
[ -d "$j" ] && [ ! -f "$j/rc" ] && alive && { echo running; exit 0; }
rm -rf "$j" && mkdir -p "$j" || exit 1
printf %%s %(body)s >"$j/script" && printf %%s %(secrets)s >"$j/secrets" || exit 1
: >"$j/log"
cat >"$j/run" <<END
cd /
. $j/secrets
rm -f $j/secrets
umask 022
sh $j/script </dev/null >>$j/log 2>&1
echo \\$? >$j/rc.new
mv $j/rc.new $j/rc
END
if [ -d /run/systemd/system ]; then
  systemctl reset-failed "$u" 2>/dev/null
  systemd-run --collect --quiet --unit="$u" --description="provision: $n" --service-type=exec \\
    --setenv=HOME=/root --setenv=LC_ALL=C -p TimeoutStopSec=15 -- /bin/sh "$j/run" || exit 1
else
  setsid sh "$j/run" </dev/null >/dev/null 2>&1 & echo $! >"$j/pid"
fi
echo started
"""

# The host waits for news, so that one request a half second is enough for a smooth bar.
_LOOK = """\
size() { wc -c 2>/dev/null <"$j/log" || echo 0; }
i=0
while [ ! -f "$j/rc" ]; do
  i=$((i + 1))
  if [ $i -le 4 ]; then sleep 0.05; else sleep 0.2; fi
  if [ $i -ge 5 ] && [ "$(size)" -gt %(offset)d ]; then break; fi
  if [ $i -ge 9 ]; then break; fi
done
if [ ! -f "$j/rc" ] && alive; then s=running; elif [ -f "$j/rc" ]; then s=$(cat "$j/rc"); else s=died; fi
echo "$s $(size)"
tail -c +$((%(offset)d + 1)) "$j/log" 2>/dev/null | head -c %(piece)d
"""

_STOP = """\
if [ -f "$j/pid" ]; then
  p=$(cat "$j/pid"); kill -TERM "-$p" 2>/dev/null
  i=0; while alive && [ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done
  kill -KILL "-$p" 2>/dev/null
else
  systemctl stop "$u" 2>/dev/null
fi
rm -rf "$j"
"""

_LIST = """\
for j in %(directory)s/jobs/*/; do
  j=${j%%/} n=${j##*/} u=provision-${j##*/}.service
  if [ -d "$j" ] && [ ! -f "$j/rc" ] && alive; then echo "$n"; fi
done
"""


@dataclass
class _Attempt:
    """One start of a job, and what has been read of its log."""

    offset: int = 0
    partial: bytes = b""
    tail: bytes = b""
    failed: str | None = None
    latest: Progress = field(default_factory=lambda: Progress(""))
    moved: float = field(default_factory=time.monotonic)

    def take(self, data: bytes) -> list[str]:
        """Add what is new in the log; the lines that are complete now. A carriage return ends one, too."""
        self.offset += len(data)
        self.tail = (self.tail + data)[-_TAIL:]
        *lines, self.partial = re.split(rb"[\r\n]", self.partial + data)
        if len(self.partial) > _LONGEST_LINE:
            self.partial = b""
        return [text for line in lines if (text := line.decode("utf-8", "replace").strip())]

    def answer(self, rc: int, message: str = "") -> Answer:
        """How it ended; without a message the end of the log says why."""
        err = message.encode() if message else self.tail[-4096:] if rc else b""
        return Answer(rc, self.tail, err, truncated=self.offset > len(self.tail))


class Jobs:
    """The jobs of one host, over its root shell."""

    def __init__(self, shell: RootShell) -> None:
        self._shell = shell

    def running(self) -> list[str]:
        """See `Session.jobs`."""
        values = {"name": "x", "directory": self._shell.directory}
        answer = self._shell.run((_PRELUDE + _LIST) % values, 30.0, None, 1 << 20)
        return [name for name in answer.text.split() if re.fullmatch(r"[a-z0-9-]+", name)]

    def do(self, job: Job, progress: Callable[[Progress], None] | None) -> Answer:
        """Start or rejoin a job and wait for its end. A log line that `job.progress` refuses ends it with status 1.

        A stall or a failure is followed by `job.retries` more attempts; a refused line is not: it is the answer.
        The time of all attempts together is bounded; status 124 then, as of `timeout`.

        Raises:
            HostError: it cannot be started.
            SessionLost: the connection ended; the job goes on, and the next call of the same name rejoins it.
        """
        if not re.fullmatch(r"[a-z0-9-]{1,200}", job.name):
            raise HostError(self._shell.name, f"{job.name!r} is not the name of a job: a-z, 0-9 and - are")
        deadline = time.monotonic() + job.timeout
        for number in range(job.retries + 1):
            answer, final = self._attempt(job, progress, deadline)
            if final or number == job.retries:
                return answer
            pause = _PAUSES[min(number, len(_PAUSES) - 1)]
            if progress:
                why = printable(answer.complaint, 100)
                progress(Progress(f"{why}; attempt {number + 2} of {job.retries + 1} in {pause:.0f} s"))
            time.sleep(pause)
        raise AssertionError("the last attempt returns")

    def _attempt(self, job: Job, progress: Callable[[Progress], None] | None, deadline: float) -> tuple[Answer, bool]:
        """One start and its end; and whether that is the last word."""
        self._start(job)
        attempt = _Attempt()
        while True:
            state, size = self._look(job, attempt, progress)
            now = time.monotonic()
            if attempt.failed is not None:
                self._script(job, _STOP)
                return attempt.answer(1, printable(attempt.failed, 1000)), True
            if state not in ("running", "died") and attempt.offset >= size:
                self._script(job, 'rm -rf "$j"')
                rc = int(state) if state.isdecimal() else 1
                return attempt.answer(rc), rc == 0
            if state == "died" and attempt.offset >= size:
                self._script(job, 'rm -rf "$j"')
                return attempt.answer(137, "the job was ended from outside, or the host ran out of memory"), False
            if now > deadline:
                self._script(job, _STOP)
                return attempt.answer(124, f"not done after {job.timeout:.0f} s; it was stopped"), True
            if job.stall is not None and now - attempt.moved > job.stall:
                self._script(job, _STOP)
                return attempt.answer(124, f"no progress for {job.stall:.0f} s"), False

    def _start(self, job: Job) -> None:
        secrets = with_secrets("", job.secrets).decode()
        answer = self._script(job, _START, body=quote(job.script), secrets=quote(secrets))
        if answer.rc:
            raise HostError(self._shell.name, f"cannot start the job {job.name}: {printable(answer.complaint, 200)}")

    def _look(self, job: Job, attempt: _Attempt, progress: Callable[[Progress], None] | None) -> tuple[str, int]:
        """What is new: the state (`running`, `died` or the status) and the log's size."""
        answer = self._script(job, _LOOK, offset=attempt.offset, piece=_PIECE)
        head, _, data = answer.out.partition(b"\n")
        state, _, size = head.decode("ascii", "replace").partition(" ")
        if not size.isdecimal():
            raise HostError(self._shell.name, f"the job {job.name} cannot be watched: {answer.complaint}")
        for line in attempt.take(data):
            try:
                attempt.latest = _progress(job, line) or attempt.latest
            except ValueError as error:
                attempt.failed = attempt.failed or str(error) or line
        if data:
            attempt.moved = time.monotonic()
        if progress:
            # Also without news: an exception of the callback is how a caller stops waiting (Ctrl-C).
            progress(attempt.latest)
        return state, int(size)

    def _script(self, job: Job, script: str, **values: object) -> Answer:
        filled = (_PRELUDE + script) % {"name": job.name, "directory": self._shell.directory, **values}
        return self._shell.run(filled, 60.0, None, _PIECE + 4096)


def _progress(job: Job, line: str) -> Progress | None:
    return job.progress(line) if job.progress else Progress(printable(line, 200))
