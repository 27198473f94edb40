"""From the login user's command to a program that runs as root, over a plain stream without a terminal.

One command line does it all: it tells who it is, is root already or starts sudo or su, and the program reports
itself with a nonce. It has to pass every login shell (csh, fish, rbash), so its words are single-quoted and hold
nothing that any of them treats specially there.
"""

import contextlib
import re
import secrets
import time

from provision.dataclass import dataclass
from provision.errors import BecomeError, HostError, SessionLost, Unreachable
from provision.host.target import Target
from provision.host.wire import Connection, Wire
from provision.values import Secret, printable

_MOST_NOISE = 64 << 10
_PASSWORD_WAIT = 60.0

_WRAPPER = """
exec 2>&1
echo; echo "$0 here $(id -un)"
if [ "$(id -u)" = 0 ]; then exec sh -c "$1" "$0"; fi
LC_ALL=C; export LC_ALL
command -v METHOD >/dev/null || { echo "$0 missing"; exit 1; }
BECOME
"""
_BECOME = {
    # -S reads the password from the stream, after the prompt; -n fails at once instead of asking.
    ("sudo", True): 'exec sudo -S -p "$0 ask" -u root -- sh -c "$1" "$0"',
    ("sudo", False): 'exec sudo -n -u root -- sh -c "$1" "$0"',
    # su prompts on standard error and reads standard input where there is no terminal (util-linux 2.38, 2.41).
    ("su", True): 'exec su -s /bin/sh -c "$1" root "$0"',
    ("su", False): 'exec su -s /bin/sh -c "$1" root "$0"',
    ("none", True): 'echo "$0 plain"; exit 1',
    ("none", False): 'echo "$0 plain"; exit 1',
}

_USE_K = "use -K, set ansible_become_password or allow NOPASSWD in sudoers"
_COMPLAINTS = (
    (r"a password is required|no password was provided", "sudo asks for a password", _USE_K),
    (r"incorrect password|Sorry, try again", "sudo refused the password", "is it that of {user}?"),
    (r"Authentication failure", "su refused the password", "is it that of root?"),
    (r"not in the sudoers file|may not run sudo", "{user} is not in sudoers", "add {user} to the group sudo"),
    (r"not allowed to execute", "sudoers lets {user} run some commands only", "provision needs `sh` as root"),
    (r"have a tty", "sudo wants a terminal (requiretty)", "put `Defaults:{user} !requiretty` into sudoers"),
    (r"must be run from a terminal", "su wants a terminal", "set ansible_become_method: sudo"),
)


def portable(program: str) -> str:
    """A program as one word that every login shell takes as it stands: a single line, in single quotes.

    Raises:
        ValueError: it holds a quote, a history mark, a doubled backslash or a comment.
    """
    lines = [line.strip() for line in program.strip().splitlines()]
    text = " ".join(line if re.search(r"(;|\{|\b(then|else|do|in))$", line) else line + ";" for line in lines)
    text = text.removesuffix(";")
    if re.search(r"['!\n]|\\\\|(^| )#", text):
        raise ValueError(f"not portable between login shells: {text!r}")
    return f"'{text}'"


@dataclass(frozen=True)
class Rooted:
    """A program that runs as root. `said` is what it reported behind its `ready`; `rest` came after that line."""

    wire: Wire
    said: str
    rest: bytes


def start_as_root(target: Target, connection: Connection, program: str) -> Rooted:
    """Start `program`, which prints the line `<nonce> ready ...` (the nonce is its `$0`) once it can take input.

    The password is sent once, and only after it was asked for: sent blindly, the program would read it.

    Raises:
        BecomeError: root could not be reached.
        Unreachable: the login shell runs no command.
    """
    method = target.become_method if target.become else "none"
    if target.become and (method not in ("sudo", "su") or target.become_user != "root"):
        what = f"become_user is {target.become_user}" if method in ("sudo", "su") else f"become_method is {method}"
        raise BecomeError(target.name, f"cannot become root: {what}", "use sudo or su, to root")
    password = _password(target)
    nonce = secrets.token_hex(8)
    wrapper = _WRAPPER.replace("METHOD", method if target.become else "sh").replace(
        "BECOME", _BECOME[method, password is not None]
    )
    wire = connection.open(["sh", "-c", portable(wrapper), nonce, portable(program)])
    with contextlib.ExitStack() as undo:
        undo.callback(wire.close)
        rooted = _Dialogue(target, wire, nonce, password).until_ready()
        undo.pop_all()
        return rooted


def _password(target: Target) -> Secret | None:
    if not target.become:
        return None
    return target.become_password or (target.password if target.become_method == "sudo" else None)


class _Dialogue:
    """What is said between the start of the command and the program's `ready`."""

    def __init__(self, target: Target, wire: Wire, nonce: str, password: Secret | None) -> None:
        self.target = target
        self.wire = wire
        self.nonce = nonce.encode()
        self.password = password
        self.heard = b""
        self.asked = False

    def until_ready(self) -> Rooted:
        deadline = time.monotonic() + _PASSWORD_WAIT
        while True:
            if report := re.search(rb"(?m)^%s (ready|plain|missing|failed)\b *(.*)\n" % self.nonce, self.heard):
                if report[1] == b"ready":
                    return Rooted(self.wire, report[2].decode("utf-8", "replace"), self.heard[report.end() :])
                if report[1] == b"failed":
                    raise HostError(self.target.name, printable(report[2].decode("utf-8", "replace"), 200))
                raise self._refusal(report[1].decode())
            if self._prompted():
                self._answer()
            elif not self._hear(deadline):
                raise self._ended()

    def _hear(self, deadline: float) -> bool:
        self.wire.patience(max(0.1, deadline - time.monotonic()))
        try:
            data = self.wire.receive()
        except TimeoutError:
            last = self._last_words() or "nothing"
            raise BecomeError(
                self.target.name, f"cannot become root: no answer for {_PASSWORD_WAIT:.0f} s; it said: {last}"
            ) from None
        except OSError as error:
            raise SessionLost(self.target.name, f"the connection ended while becoming root: {error}") from error
        self.heard += data
        if len(self.heard) > _MOST_NOISE:
            raise BecomeError(self.target.name, "cannot become root: the login prints without end")
        return bool(data)

    def _prompted(self) -> bool:
        """Whether a password is asked for, for the first time or again."""
        since = self.heard.rpartition(b"\x00")[2]
        if self.target.become_method == "su":
            return re.search(rb"(?i)password: ?$", since) is not None
        return self.nonce + b" ask" in since

    def _answer(self) -> None:
        if self.asked or self.password is None:
            raise self._refusal("wrong" if self.asked else "asks")
        self.asked = True
        self.heard += b"\x00"  # what was before is answered
        try:
            self.wire.send(self.password.reveal().encode() + b"\n")
        except OSError:
            return  # the end is heard next, with its reason

    def _refusal(self, report: str) -> BecomeError:
        user, method = self._user(), self.target.become_method
        message, hint = {
            "wrong": (f"{method} refused the password", f"is it that of {user if method == 'sudo' else 'root'}?"),
            "asks": (f"{method} asks for a password", "use -K or set ansible_become_password"),
            "missing": (f"{method} is not installed", "install it, or log in as root"),
            "plain": (f"logged in as {user}, and become is off", "set ansible_become: true"),
        }[report]
        return BecomeError(self.target.name, f"cannot become root: {message}", hint)

    def _ended(self) -> BecomeError | Unreachable:
        text = self._text()
        user = self._user()
        if self.nonce not in self.heard:
            said = f": it said {self._last_words()!r}" if self._last_words() else ""
            return Unreachable(
                self.target.name,
                f"logged in, but the login shell runs no command{said}",
                "give the user a shell such as /bin/sh (`chsh`), and no forced command",
            )
        for pattern, message, hint in _COMPLAINTS:
            if re.search(pattern, text):
                what = f"cannot become root: {message.format(user=user)}"
                return BecomeError(self.target.name, what, hint.format(user=user))
        return BecomeError(self.target.name, f"cannot become root: {self._last_words() or 'no reason given'}")

    def _user(self) -> str:
        found = re.search(rb"(?m)^%s here (\S+)" % self.nonce, self.heard)
        return found[1].decode("utf-8", "replace") if found else (self.target.user or "the login user")

    def _text(self) -> str:
        return (self.heard.decode("utf-8", "replace") + "\n" + self.wire.complaint()).replace("\x00", "\n")

    def _last_words(self) -> str:
        lines = [line for line in self._text().splitlines() if line.strip() and self.nonce.decode() not in line]
        return printable(lines[-1].strip(), 200) if lines else ""
