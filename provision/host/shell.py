"""The root shell: a small loop on the host that takes one request, answers it, and waits for the next.

A request is a line `kind bytes limit argument` and that many bytes; an answer is a line `status bytes bytes` and the
two outputs. Never is a request sent before the last answer has come: busybox's `head` reads ahead. A script lies in
a file and has no standard input, so that nothing that it starts can eat the next request.
"""

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from provision.errors import HostError, SessionLost
from provision.host.become import start_as_root
from provision.host.session import Answer
from provision.host.target import Target
from provision.host.wire import SLICE, Connection, Wire
from provision.values import human_bytes, printable, quote

_PROGRAM = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
export PATH HOME LC_ALL
cd /
umask 077
d=/run/provision
mkdir -p $d/s.$$ 2>/dev/null || d=/var/lib/provision/run
s=$d/s.$$
[ -d $s ] || mkdir -p $s || {
echo; echo "$0 failed neither /run/provision nor /var/lib/provision can be written"; exit 1; }
trap "rm -rf $s" EXIT
trap exit PIPE
for x in $d/s.*; do kill -0 ${x##*.} 2>/dev/null || rm -rf $x; done
t=; if command -v timeout >/dev/null; then t=1; fi
echo; echo "$0 ready $d"
exec 2>/dev/null
while read -r k n l p; do
umask 077
r=1
>$s/e
case $k in
u) x=$p.part; rm -f "$x"; head -c $n | tee "$x" 2>$s/e | sha256sum >$s/o;
if [ "$(wc -c <"$x")" = $n ] && mv -f "$x" "$p" 2>>$s/e; then r=0; else rm -f "$x"; fi;;
q) exit;;
b) >$d/beat; >$s/o; r=0;;
*) head -c $n >$s/c; [ "$(wc -c <$s/c)" = $n ] || exit; umask 22;
case $k in
r) ${t:+timeout -s KILL $p} sh $s/c </dev/null >$s/o 2>$s/e 9>&-; r=$?;;
i) . $s/c </dev/null >$s/o 2>$s/e; r=$?;;
esac
>$s/c;;
esac
set -- $(wc -c $s/o $s/e)
echo $r $1 $3
[ $1 = 0 ] || head -c $l $s/o
[ $3 = 0 ] || head -c $l $s/e
rm -f $s/c $s/o $s/e
done
"""
"""`r` runs a script, `i` runs it inside the loop's own shell, `u` writes a file, `q` ends.

- `timeout` ends a script that nobody waits for any more; it holds the lock otherwise.
- A request that was cut off is never run: its size is compared first.
- `tee` goes on reading when the disk is full, so that the stream stays in step; the file's size tells.
- The shell's standard error is closed: dash reports there that a script was killed, in the middle of an answer.
"""

_GRACE = 5.0
_HEADER = re.compile(rb"(\d{1,3}) (\d{1,12}) (\d{1,12})\n")
_UPLOAD_STALL = 60.0


class RootShell:
    """The loop's other end. `requests` and `traffic` (bytes, both directions) count what went over it."""

    def __init__(self, target: Target, connection: Connection) -> None:
        rooted = start_as_root(target, connection, _PROGRAM)
        self.name = target.name
        self.requests = 0
        self.traffic = 0
        self.directory = rooted.said
        self._wire: Wire = rooted.wire
        self._buffer = bytearray(rooted.rest)
        self._lost: str | None = None
        self._turn = threading.Lock()

    def run(self, script: str, timeout: float, secrets: Mapping[str, str] | None, limit: int) -> Answer:
        """Run a script; see `Session.run`."""
        return self._ask("r", with_secrets(script, secrets), timeout, limit, f"{timeout + _GRACE:.0f}", script)

    def inside(self, script: str, timeout: float = 15.0) -> Answer:
        """Run our own script in the loop's shell itself, to open a descriptor that lives as long as the session."""
        return self._ask("i", script.encode(), timeout, 1 << 16, "", script)

    def upload(
        self, path: str, size: int, pieces: Iterable[bytes], progress: Callable[[int, int], None] | None
    ) -> tuple[str, Answer]:
        """Write `size` bytes to `path`. Returns the SHA-256 of what arrived, and the answer."""
        with self._turn:
            self._begin("u", size, 1 << 16, path, time.monotonic() + _UPLOAD_STALL)
            sent = 0
            for piece in pieces:
                self._send(piece, time.monotonic() + _UPLOAD_STALL, f"uploading {path}")
                sent += len(piece)
                if progress:
                    progress(sent, size)
            # The host writes out and hashes what is still in its buffers.
            answer = self._answer(_UPLOAD_STALL + size / (5 << 20), 1 << 16, f"uploading {path}")
        return answer.out[:64].decode("ascii", "replace"), answer

    def beat(self) -> None:
        """Let the host see that we are there, unless a request under way shows it anyway."""
        if self._turn.acquire(blocking=False):
            try:
                self._begin("b", 0, 0, "", time.monotonic() + 15.0)
                self._answer(15.0, 0, "a heartbeat")
                self.requests -= 1  # not of anybody's asking
            finally:
                self._turn.release()

    def close(self, *, wait: float = 0.0) -> None:
        """End the loop. With `wait`, up to so many seconds until it has ended on the host as well."""
        if wait and self._turn.acquire(timeout=0.5):
            if self._lost is None:
                with contextlib.suppress(OSError):
                    self._wire.patience(wait)
                    self._wire.send(b"q 0 0\n")
                    while self._wire.receive():
                        pass
            self._turn.release()
        self._lost = self._lost or "the session is closed"
        self._wire.close()

    def _ask(self, kind: str, body: bytes, timeout: float, limit: int, argument: str, what: str) -> Answer:
        with self._turn:
            deadline = time.monotonic() + timeout
            self._begin(kind, len(body), limit, argument, deadline, body)
            return self._answer(deadline - time.monotonic(), limit, _gist(what))

    def _begin(self, kind: str, size: int, limit: int, argument: str, deadline: float, body: bytes = b"") -> None:
        if self._lost:
            raise SessionLost(self.name, self._lost)
        self.requests += 1
        header = f"{kind} {size} {limit} {argument}\n".encode()
        self._send(header + body, deadline, "sending a script")

    def _send(self, data: bytes, deadline: float, what: str) -> None:
        try:
            self._wire.patience(max(0.1, deadline - time.monotonic()))
            self._wire.send(data)
        except TimeoutError:
            raise self._lose(f"the host takes no data any more while {what}") from None
        except OSError as error:
            raise self._lose(f"the connection ended while {what}: {error or 'closed'}") from error
        self.traffic += len(data)

    def _answer(self, timeout: float, limit: int, what: str) -> Answer:
        deadline = time.monotonic() + timeout
        while not (header := _HEADER.match(self._buffer)):
            if len(self._buffer) > 40 or b"\n" in self._buffer:
                raise self._lose(f"the host gave an answer that is none while running {what}")
            self._hear(deadline, timeout, what)
        rc, *lengths = (int(number) for number in header.groups())
        del self._buffer[: header.end()]
        out, err = (self._take(min(length, limit), deadline, timeout, what) for length in lengths)
        return Answer(rc, out, err, truncated=max(lengths) > limit)

    def _take(self, count: int, deadline: float, timeout: float, what: str) -> bytes:
        while len(self._buffer) < count:
            self._hear(deadline, timeout, what)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _hear(self, deadline: float, timeout: float, what: str) -> None:
        try:
            self._wire.patience(max(0.1, deadline - time.monotonic()))
            data = self._wire.receive()
        except TimeoutError:
            raise self._lose(f"no answer within {timeout:.0f} s while running {what}") from None
        except OSError as error:
            raise self._lose(f"the connection ended while running {what}: {error}") from error
        if not data:
            raise self._lose(f"the connection ended while running {what}")
        self.traffic += len(data)
        self._buffer += data

    def _lose(self, message: str) -> SessionLost:
        self._lost = message
        self._wire.close()
        return SessionLost(self.name, message)


def with_secrets(script: str, secrets: Mapping[str, str] | None) -> bytes:
    """The script with its secrets exported before it; it lies in a 0600 file for as long as it runs."""
    exports = "".join(f"{name}={quote(value)}; export {name}; " for name, value in (secrets or {}).items())
    return (exports + script).encode()


def pieces_of(content: bytes | Path, size: int, digest: "hashlib._Hash") -> Iterable[bytes]:
    """Exactly `size` bytes in slices, each added to `digest`; zeros for what a file has lost in the meantime."""
    if isinstance(content, bytes):
        digest.update(content)
        for start in range(0, size, SLICE):
            yield content[start : start + SLICE]
        return
    with content.open("rb") as file:
        left = size
        while left:
            piece = file.read(min(left, SLICE)) or bytes(min(left, SLICE))
            digest.update(piece)
            left -= len(piece)
            yield piece


def upload(
    shell: RootShell,
    path: str,
    content: bytes | Path,
    sha256: str | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """See `Session.upload`."""
    if not re.fullmatch(r"/[^\x00-\x1f\x7f]*[^\x00-\x20\x7f/]", path):
        raise HostError(shell.name, f"cannot upload to {path!r}: not an absolute path of printable characters")
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.sha256()
    arrived, answer = shell.upload(path, size, pieces_of(content, size, digest), progress)
    if answer.rc:
        reason = printable(answer.complaint, 300) if answer.err.strip() else "not all of it was written"
        raise HostError(shell.name, f"cannot write {path} ({human_bytes(size)}): {reason}{_free(shell, path)}")
    if arrived != digest.hexdigest() or sha256 not in (None, arrived):
        shell.run(f"rm -f {quote(path)}", 30.0, None, 1 << 16)
        expected = sha256 or digest.hexdigest()
        raise HostError(shell.name, f"{path}: its SHA-256 is {arrived}, not {expected}")


def _free(shell: RootShell, path: str) -> str:
    """How much room there is; nothing where the directory is missing."""
    answer = shell.run(f"df -Pk {quote(str(PurePosixPath(path).parent))} | tail -n 1", 30.0, None, 1 << 16)
    words = answer.text.split()
    return f"; {human_bytes(int(words[3]) * 1024)} are free" if len(words) > 3 and words[3].isdecimal() else ""


def _gist(script: str) -> str:
    """The first line of a script that says something, for a message."""
    lines = (line.strip() for line in script.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "a script")
    return repr(first if len(first) <= 60 else first[:60] + "…")
