"""What OpenSSH's configuration makes of a host: names, keys, bastions. `ssh -G` says it where OpenSSH is installed."""

import getpass
import logging
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from provision.dataclass import dataclass
from provision.errors import Unreachable
from provision.host.target import Target
from provision.values import printable

_log = logging.getLogger(__name__)
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_DEFAULT_KNOWN = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


@dataclass(frozen=True)
class Route:
    """How one sshd is reached and greeted, all defaults filled in.

    Args:
        label: what the user calls it, for messages.
        keys: identity files to try, existing or not.
        keys_only: only these, not whatever else the agent holds (`IdentitiesOnly`).
        agent: the agent's socket; None: `SSH_AUTH_SOCK`; empty: no agent.
        known_as: the name looked up in `known_hosts` instead of the address (`HostKeyAlias`).
    """

    label: str
    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    known_hosts: tuple[Path, ...]
    keys_only: bool = False
    agent: str | None = None
    jump: tuple[str, ...] = ()
    proxy_command: str | None = None
    known_as: str | None = None
    connect_timeout: float = 10.0


def route(target: Target) -> Route:
    """The way to a host of the inventory. What the inventory says wins over the configuration.

    Raises:
        Unreachable: OpenSSH refuses its configuration or an option.
    """
    options = list(target.options)
    said = _ask(target.name, target.address, target.port, target.user, target.config_file, options)
    found = _route(target.name, said, target.connect_timeout)
    if target.private_key:
        found = replace(found, keys=(target.private_key.expanduser(),), keys_only=True)
    if target.jump or target.proxy_command:
        found = replace(found, jump=target.jump, proxy_command=target.proxy_command)
    return found


def jump_route(target: Target, word: str) -> Route:
    """The way to a bastion named `[user@]host[:port]`, through the configuration as well.

    Raises:
        Unreachable: the word is none of that, or OpenSSH refuses its configuration.
    """
    match = re.fullmatch(
        r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^]]+\]|[^:@\s\[\]-][^:@\s]*)(?::(?P<port>\d+))?/?", word
    )
    if not match:
        raise Unreachable(target.name, f"the jump host {word!r} is not [user@]host[:port]")
    port = int(match["port"]) if match["port"] else None
    said = _ask(target.name, match["host"].strip("[]"), port, match["user"], target.config_file, [])
    found = _route(match["host"], said, target.connect_timeout)
    if target.private_key:  # as one hop's key often opens the next; the bastion's own come first
        found = replace(found, keys=(*found.keys, target.private_key.expanduser()))
    return found


def _ask(
    name: str, host: str, port: int | None, user: str | None, file: Path | None, options: Iterable[str]
) -> Mapping[str, list[str]]:
    if shutil.which("ssh") is None:
        return _from_paramiko(host, port, user, file, options)
    # -T: no terminal is asked for, and so none is missed in a warning.
    command = ["ssh", "-G", "-T"]
    command += ["-F", str(file.expanduser())] if file else []
    command += ["-p", str(port)] if port else []
    command += ["-l", user] if user else []
    for option in options:
        command += ["-o", option]
    ran = subprocess.run([*command, "--", host], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ran.returncode:
        last = printable(ran.stderr.strip().rpartition("\n")[2], 300)
        raise Unreachable(name, f"ssh cannot read its configuration for {host}: {last}")
    said: dict[str, list[str]] = {}
    for line in ran.stdout.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key.lower(), []).append(value)
    return said


def _from_paramiko(
    host: str, port: int | None, user: str | None, file: Path | None, options: Iterable[str]
) -> Mapping[str, list[str]]:
    from provision.host.lean import paramiko, read_match_exec

    read_match_exec()
    config = paramiko.SSHConfig()
    path = file.expanduser() if file else Path("~/.ssh/config").expanduser()
    if path.is_file():
        text = path.read_text()
        if re.search(r"(?im)^\s*include\b", text):
            _log.warning("%s: Include is not followed, because OpenSSH's client is not installed", path)
        config.parse(text.splitlines())
    said: dict[str, list[str]] = {}
    for key, value in config.lookup(host).items():
        said[key.lower()] = list(value) if isinstance(value, list) else [str(value)]
    for option in options:
        key, _, value = re.sub(r"^\s*(\w+)[\s=]+", r"\1=", option).partition("=")
        said[key.lower()] = [value]
    said |= {"port": [str(port)]} if port else {}
    said |= {"user": [user]} if user else {}
    return said


def _route(label: str, said: Mapping[str, list[str]], connect_timeout: float) -> Route:
    def one(key: str) -> str | None:
        value = said.get(key, [""])[0].strip()
        return None if value.lower() in ("", "none") else value

    known = " ".join(said.get("userknownhostsfile", []) + said.get("globalknownhostsfile", []))
    keys = said.get("identityfile") or [f"~/.ssh/{name}" for name in _DEFAULT_KEYS]
    agent = said.get("identityagent", ["SSH_AUTH_SOCK"])[0]
    jump = one("proxyjump")
    seconds = one("connecttimeout")
    return Route(
        label=label,
        host=one("hostname") or label,
        port=int(one("port") or 22),
        user=one("user") or getpass.getuser(),
        keys=tuple(Path(key).expanduser() for key in keys),
        known_hosts=tuple(Path(file).expanduser() for file in known.split() or _DEFAULT_KNOWN),
        keys_only=one("identitiesonly") == "yes",
        agent={"SSH_AUTH_SOCK": None, "none": ""}.get(agent, agent),
        jump=tuple(word.strip() for word in jump.split(",")) if jump else (),
        proxy_command=one("proxycommand"),
        known_as=one("hostkeyalias"),
        connect_timeout=float(seconds) if seconds and seconds.isdigit() else connect_timeout,
    )
