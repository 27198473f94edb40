"""SSH connections: sockets, bastions, host keys, and channels on them. Everything of paramiko is behind this module."""

import contextlib
import logging
import random
import re
import shlex
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from provision.errors import SessionLost, Unreachable
from provision.host import auth
from provision.host.hostkeys import KnownHosts, Verdict, fingerprint, name_for
from provision.host.lean import paramiko
from provision.host.local import reap, spawn
from provision.host.sshconfig import Route, jump_route, route
from provision.host.target import Target
from provision.host.wire import ChannelWire, Wire
from provision.values import printable

# paramiko reports each broken connection with a traceback on standard error; we raise an error of our own.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_HANDSHAKES = 8
"""At once per sshd or bastion: MaxStartups 10:30:100 begins to drop at ten (paramiko#664, ansible#24594)."""
_BACKOFF = (0.3, 0.7, 1.5, 3.0)
_COMMAND_WAIT = 60.0
_KEEPALIVE = 15
_UNACKNOWLEDGED_MS = 30_000
_WINDOW = 8 << 20
_NO_GREETING = "what comes is no greeting of SSH"
_GREETING = 64 << 10
"""Bytes: a version, up to a hundred lines before it, and the key exchange with large certificates and keys."""
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr")

_gates: defaultdict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(_HANDSHAKES))
_gates_lock = threading.Lock()

Judge = Callable[[Route, KnownHosts, paramiko.PKey], None]
"""Raises when the key that a host offers must not be trusted."""


class _QuickSocket(socket.socket):
    """Asks for immediate acknowledgements after each read: the kernel forgets it every time.

    sshd stops Nagle's algorithm only when the first session starts, and until then waits for our delayed ACK
    (measured: connect and first command 64.7 -> 24.6 ms).

    Attributes:
        greeting: bytes that may still come before the key exchange is over; None: any number. paramiko waits for the
            end of a line, and for a packet of any announced size, in memory.
    """

    greeting: int | None = _GREETING

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        if self.greeting is not None:
            self.greeting -= len(data)
            if self.greeting < 0:
                raise ConnectionAbortedError(_NO_GREETING)
        if hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


class SshConnection:
    """An authenticated connection to a host, through its bastions. Programs run on channels of it."""

    def __init__(self, target: Target, *, judge: Judge | None = None) -> None:
        """Connect.

        Raises:
            Unreachable: at any step; the message names the hop when it is not the host itself.
        """
        self.target = target
        self._judge = judge or strict_judge(target.name)
        self._undo = contextlib.ExitStack()
        self._transport = self._connect()

    def open(self, command: Sequence[str]) -> Wire:
        """Start a program on a channel of its own; on a connection of its own where sshd allows one session only."""
        try:
            channel = self._transport.open_session(window_size=_WINDOW, timeout=30)
        except paramiko.ChannelException:  # MaxSessions is reached
            channel = self._connect().open_session(window_size=_WINDOW, timeout=30)
        except (paramiko.SSHException, EOFError) as error:
            raise SessionLost(self.target.name, f"the connection ended: {error or 'closed by the host'}") from error
        # paramiko waits for the reply without end (paramiko#2599), as where PAM hangs.
        impatience = threading.Timer(_COMMAND_WAIT, channel.close)
        impatience.start()
        try:
            channel.exec_command(" ".join(command))
        except (paramiko.SSHException, EOFError) as error:
            raise SessionLost(self.target.name, f"the host starts no command: {error or 'closed'}") from error
        finally:
            impatience.cancel()
        return ChannelWire(channel)

    def close(self) -> None:
        """End the connection, and those to the bastions."""
        self._undo.close()

    def _connect(self) -> paramiko.Transport:
        with contextlib.ExitStack() as undo:
            transport = dial(self.target, self._judge, undo)
            self._undo.push(undo.pop_all())
            return transport


def dial(target: Target, judge: Judge, undo: contextlib.ExitStack, *, login: bool = True) -> paramiko.Transport:
    """Connect hop by hop; with `login` False stop once the host itself has shown its key. `undo` ends it all.

    Raises:
        Unreachable: at any step.
    """
    final = route(target)
    bastion: paramiko.Transport | None = None
    for hop in _bastions(target, final):
        bastion = _hop(target, hop, bastion, judge, undo, target.password)
    return _hop(target, final, bastion, judge, undo, target.password, login=login)


def _bastions(target: Target, final: Route, depth: int = 0) -> Iterator[Route]:
    """The hops before a route. Only the first may have bastions of its own, as with OpenSSH's `-J`."""
    if depth > 8:
        raise Unreachable(target.name, "the jump hosts of ~/.ssh/config lead in a circle")
    for number, word in enumerate(final.jump):
        hop = jump_route(target, word)
        if number == 0:
            yield from _bastions(target, hop, depth + 1)
        yield hop


def _hop(
    target: Target,
    hop: Route,
    through: paramiko.Transport | None,
    judge: Judge,
    undo: contextlib.ExitStack,
    password: Any,
    *,
    login: bool = True,
) -> paramiko.Transport:
    """One handshake. Again with a pause, a few times, when sshd drops it because too many come at once."""
    gate = hop.proxy_command if hop.proxy_command and through is None else f"{hop.host}:{hop.port}"
    with _gates_lock:
        semaphore = _gates[gate]
    for pause in (*_BACKOFF, None):
        with semaphore, contextlib.ExitStack() as attempt:
            sock, proxy_said = _stream(target, hop, through, attempt)
            transport = paramiko.Transport(sock, default_window_size=_WINDOW)
            attempt.callback(transport.close)
            try:
                _greet(transport, hop, judge)
                if login:
                    auth.log_in(transport, hop, password, target.name)
                    transport.set_keepalive(_KEEPALIVE)
                undo.push(attempt.pop_all())
                return transport
            except (paramiko.SSHException, EOFError, OSError) as error:
                said = proxy_said()
                if pause is None or said or not _dropped(transport, error):
                    raise _unreachable(target, hop, error, said) from error
        time.sleep(pause * random.uniform(0.7, 1.3))
    raise AssertionError("the last attempt returns or raises")


def _dropped(transport: paramiko.Transport, error: BaseException) -> bool:
    """Whether the connection was closed before the other side said what it is: MaxStartups, or an sshd that starts."""
    if _NO_GREETING in str(error):
        return False
    return not transport.remote_version and ("banner" in str(error) or isinstance(error, EOFError | ConnectionError))


def _stream(
    target: Target, hop: Route, through: paramiko.Transport | None, undo: contextlib.ExitStack
) -> tuple[Any, Callable[[], str]]:
    """The bytes to an sshd: a channel of the bastion, a proxy command, or TCP; and what the proxy command said."""
    if through is not None:
        try:
            channel = through.open_channel("direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=30)
        except (paramiko.SSHException, EOFError) as error:
            raise Unreachable(
                target.name, f"the jump host cannot reach {hop.host}:{hop.port}: {_reason(error)}"
            ) from error
        undo.callback(channel.close)
        return channel, str
    if hop.proxy_command:
        return undo.enter_context(_proxied(hop, hop.proxy_command))
    return _tcp(target, hop), str


def _tcp(target: Target, hop: Route) -> socket.socket:
    try:
        plain = socket.create_connection((hop.host, hop.port), hop.connect_timeout)
    except OSError as error:
        what = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        raise Unreachable(target.name, f"cannot connect to {hop.host}:{hop.port}: {what}") from error
    sock = _QuickSocket(fileno=plain.detach())
    options = {"TCP_NODELAY": 1, "TCP_USER_TIMEOUT": _UNACKNOWLEDGED_MS}
    for name, value in options.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


@contextlib.contextmanager
def _proxied(hop: Route, command: str) -> Iterator[tuple[socket.socket, Callable[[], str]]]:
    values = {"h": hop.host, "p": str(hop.port), "r": hop.user, "n": hop.label, "%": "%"}
    filled = re.sub(r"%([hprn%])", lambda match: shlex.quote(values[match[1]]), command)

    with tempfile.TemporaryFile() as said:
        sock, child = spawn(["sh", "-c", f"exec {filled}"], stderr=said.fileno())

        def last_words() -> str:
            said.seek(0)
            return said.read(4096).decode("utf-8", "replace").strip().rpartition("\n")[2]

        try:
            yield sock, last_words
        finally:
            sock.close()
            reap(child)


def _greet(transport: paramiko.Transport, hop: Route, judge: Judge) -> None:
    """The key exchange, with the host key types that are known first (paramiko#350), and the check of the key."""
    known = KnownHosts(name_for(hop.known_as or hop.host, 22 if hop.known_as else hop.port), hop.known_hosts)
    options = transport.get_security_options()
    options.ciphers = _first(_CIPHERS, options.ciphers)
    wanted = [name for kind in known.kinds for name in _algorithms(kind)]
    options.key_types = _first(wanted, options.key_types)
    transport.banner_timeout = transport.auth_timeout = hop.connect_timeout * 3
    transport.start_client(timeout=hop.connect_timeout * 3)
    if isinstance(transport.sock, _QuickSocket):
        transport.sock.greeting = None
    judge(hop, known, transport.get_remote_server_key())


def _algorithms(kind: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _first(wanted: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """The offered ones, the wanted among them first."""
    ahead = [name for name in wanted if name in offered]
    return (*ahead, *(name for name in offered if name not in ahead))


def strict_judge(name: str) -> Judge:
    """The strict rule: only keys that `known_hosts` has."""

    def judge(hop: Route, known: KnownHosts, key: paramiko.PKey) -> None:
        verdict = known.judge(key.get_name(), key.asbytes())
        if verdict.word != "known":
            raise refusal(name, hop, known, key, verdict)

    return judge


def refusal(name: str, hop: Route, known: KnownHosts, key: paramiko.PKey, verdict: Verdict) -> Unreachable:
    """The error for a key that is not to be trusted: its fingerprint, the known ones, what to do."""
    offered = f"{key.get_name()} {fingerprint(key.asbytes())}"
    if verdict.word == "changed":
        others = ", ".join(f"{fingerprint(other.blob)} ({other.where})" for other in verdict.others)
        return Unreachable(
            name,
            f"THE HOST KEY OF {known.name} HAS CHANGED: it is {offered}, known is {others}; somebody may be listening",
            f"if the host was installed anew: ssh-keygen -R {shlex.quote(known.name)}, then provision trust {name}",
        )
    if verdict.word == "revoked":
        return Unreachable(name, f"the host key of {known.name}, {offered}, is revoked in {verdict.others[0].where}")
    also = f" (known are {', '.join(known.kinds)})" if known.kinds else ""
    return Unreachable(
        name,
        f"the host key of {known.name} is not known: {offered}{also}",
        f"compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), then: provision trust {name}",
    )


def _unreachable(target: Target, hop: Route, error: BaseException, proxy_said: str) -> Unreachable:
    where = f"{hop.host}:{hop.port}"
    if proxy_said:
        return Unreachable(target.name, f"the proxy command to {where} failed: {printable(proxy_said, 200)}")
    if _NO_GREETING in str(error):
        return Unreachable(target.name, f"{where} is no sshd: {_NO_GREETING}")
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer) or "no acceptable" in str(error).lower():
        return Unreachable(target.name, f"{where} speaks an SSH that is too old: {_reason(error)}")
    if "banner" in str(error) or isinstance(error, EOFError):
        return Unreachable(
            target.name, f"{where} closed the connection at once", "is it an sshd, and not flooded (MaxStartups)?"
        )
    return Unreachable(target.name, f"the handshake with {where} failed: {_reason(error)}")


def _reason(error: BaseException) -> str:
    return printable(str(error) or type(error).__name__, 200)
