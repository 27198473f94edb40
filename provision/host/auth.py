"""Logging in: which keys and passwords are tried, in which order, and what is said when none was taken."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from provision.dataclass import dataclass
from provision.errors import Unreachable
from provision.host.lean import paramiko
from provision.host.sshconfig import Route
from provision.values import Secret

_MOST_TRIES = 5  # sshd's MaxAuthTries is 6, and OpenSSH 9.8 punishes addresses that fail a lot

_keys: dict[Path, paramiko.PKey | str] = {}
_keys_lock = threading.Lock()


@dataclass(frozen=True)
class _Attempt:
    what: str
    methods: tuple[str, ...]
    go: Callable[[], list[str]]


def log_in(transport: paramiko.Transport, route: Route, password: Secret | None, host: str) -> None:
    """Authenticate: the keys that were named, then the password, then the agent, then the default keys.

    Raises:
        Unreachable: nothing was taken; the message says what was tried and what the server takes.
        OSError, EOFError, paramiko.SSHException: the connection broke.
    """
    refused: list[str] = []
    notes: list[str] = []
    allowed: list[str] = []
    for attempt in _attempts(transport, route, password, notes):
        if len(refused) >= _MOST_TRIES:
            notes.append("more keys were not tried")
            break
        if allowed and not set(attempt.methods) & set(allowed):
            continue
        try:
            rest = attempt.go()
        except paramiko.BadAuthenticationType as error:
            allowed = list(error.allowed_types)
            continue
        except paramiko.AuthenticationException:
            if not transport.is_active():
                notes.append("the server hung up")
                break
            refused.append(attempt.what)
            continue
        if transport.is_authenticated():
            return
        allowed = list(rest)  # one factor was taken, the server wants another
        notes.append(f"{attempt.what} was taken, the server also wants {' or '.join(allowed)}")
    tried = f"refused: {', '.join(refused)}" if refused else "no key, agent or password to try"
    takes = [f"the server takes {', '.join(allowed)}"] if allowed else []
    raise Unreachable(
        host,
        f"cannot log in as {route.user} at {route.host}:{route.port}: {'; '.join([tried, *notes, *takes])}",
        "set ansible_user and ansible_ssh_private_key_file, add the key to ssh-agent, or use -k for a password",
    )


def _attempts(
    transport: paramiko.Transport, route: Route, password: Secret | None, notes: list[str]
) -> Iterator[_Attempt]:
    user = route.user
    agent = _agent_keys(route)
    files = [path for path in route.keys if path.is_file()]

    def by_key(what: str, key: paramiko.PKey) -> _Attempt:
        return _Attempt(what, ("publickey",), lambda: transport.auth_publickey(user, key))

    def from_files() -> Iterator[_Attempt]:
        for path in files:
            held = _held_by_agent(path, agent)
            key = held or _load(path)
            if isinstance(key, str):
                notes.append(key)
            else:
                agent[:] = [other for other in agent if other.asbytes() != key.asbytes()]
                yield by_key(f"key {path}", key)

    def from_agent() -> Iterator[_Attempt]:
        for key in agent:
            yield by_key(f"agent key {getattr(key, 'comment', '') or key.get_name()}", key)

    def by_password() -> Iterator[_Attempt]:
        if password is not None:
            text = password.reveal()
            # Falls back to keyboard-interactive where the server has only that (PAM).
            methods = ("password", "keyboard-interactive")
            yield _Attempt("password", methods, lambda: transport.auth_password(user, text))

    if route.keys_only:
        missing = [path for path in route.keys if not path.is_file()]
        notes.extend(f"key {path} does not exist" for path in missing if not files)
        yield from from_files()
        yield from by_password()
    else:
        yield from by_password()
        yield from from_agent()
        yield from from_files()


def _agent_keys(route: Route) -> list[paramiko.PKey]:
    if route.agent == "":
        return []
    if route.agent is not None:
        return _agent_at(route.agent)
    with _keys_lock:
        return list(paramiko.Agent().get_keys())


def _agent_at(path: str) -> list[paramiko.PKey]:
    """The keys of an agent whose socket is not the one in the environment (`IdentityAgent`)."""
    expanded = os.environ.get(path[1:], "") if path.startswith("$") else str(Path(path).expanduser())
    with _keys_lock:
        before = os.environ.get("SSH_AUTH_SOCK")
        os.environ["SSH_AUTH_SOCK"] = expanded
        try:
            return list(paramiko.Agent().get_keys())
        finally:
            os.environ.pop("SSH_AUTH_SOCK")
            if before is not None:
                os.environ["SSH_AUTH_SOCK"] = before


def _held_by_agent(path: Path, agent: list[paramiko.PKey]) -> paramiko.PKey | None:
    """The agent's key that belongs to this file, by the public key beside it: no passphrase is needed then."""
    try:
        words = Path(f"{path}.pub").read_text().split()
    except (OSError, UnicodeDecodeError):
        return None
    return next((key for key in agent if len(words) > 1 and key.get_base64() == words[1]), None)


def _load(path: Path) -> paramiko.PKey | str:
    """The key in a file, or why it cannot be had. Read once a process: an RSA key costs 0.1 s of CPU each time."""
    with _keys_lock:
        if path not in _keys:
            _keys[path] = _read(path)
        return _keys[path]


def _read(path: Path) -> paramiko.PKey | str:
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError):
        return f"key {path} has a passphrase: add it to ssh-agent"
    except (OSError, ValueError, paramiko.SSHException) as error:
        return f"key {path} cannot be read: {error}"
