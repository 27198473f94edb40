"""`ansible_*` variables to a typed connection. Jinja is rendered here and nowhere else."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from provision.dataclass import dataclass
from provision.inventory.document import Mapping as MapNode
from provision.inventory.document import Mark, Node, Scalar, is_null
from provision.inventory.findings import Findings
from provision.inventory.fleet import Connection
from provision.inventory.names import did_you_mean
from provision.inventory.tree import Entry
from provision.values import Secret

T = TypeVar("T")

USED = {
    "host": ("ansible_host", "ansible_ssh_host"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "password": ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
    "private_key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    "become": ("ansible_become",),
    "become_method": ("ansible_become_method",),
    "become_user": ("ansible_become_user",),
    "become_password": ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_su_pass"),
    "kind": ("ansible_connection",),
    "common_args": ("ansible_ssh_common_args",),
    "extra_args": ("ansible_ssh_extra_args",),
}
# Known to Ansible, without effect here and without harm.
IGNORED = frozenset({
    "ansible_python_interpreter", "ansible_group_priority", "ansible_pipelining",
    "ansible_ssh_pipelining", "ansible_scp_if_ssh", "ansible_sftp_batch_mode", "ansible_ssh_transfer_method",
    "ansible_shell_type", "ansible_remote_tmp", "ansible_ssh_executable", "ansible_scp_executable",
    "ansible_sftp_executable", "ansible_ssh_retries", "ansible_interpreter_python_fallback",
})  # fmt: skip
# Known to Ansible; somebody who sets them expects an effect that they do not have here.
WITHOUT_EFFECT = frozenset({
    "ansible_ssh_args", "ansible_sftp_extra_args", "ansible_scp_extra_args", "ansible_host_key_checking",
    "ansible_ssh_host_key_checking", "ansible_become_exe", "ansible_become_flags", "ansible_sudo_exe",
    "ansible_sudo_flags", "ansible_shell_executable", "ansible_timeout", "ansible_ssh_timeout",
    "ansible_ssh_private_key", "ansible_private_key",
})  # fmt: skip
KNOWN = frozenset(name for names in USED.values() for name in names) | IGNORED | WITHOUT_EFFECT

_KINDS: dict[str, Literal["ssh", "local", "docker"]] = {
    "ssh": "ssh", "smart": "ssh", "paramiko": "ssh", "paramiko_ssh": "ssh", "ansible.builtin.ssh": "ssh",
    "ansible.builtin.paramiko_ssh": "ssh", "local": "local", "ansible.builtin.local": "local",
    "docker": "docker", "community.docker.docker": "docker",
}  # fmt: skip
_METHODS: dict[str, Literal["sudo", "su"]] = {
    "sudo": "sudo", "su": "su", "ansible.builtin.sudo": "sudo", "ansible.builtin.su": "su",
}  # fmt: skip
# What provision/host/sshconfig.py takes over.
_OPTIONS = frozenset((
    "userknownhostsfile", "globalknownhostsfile", "hostkeyalias", "hostname", "identityfile", "identitiesonly",
    "identityagent", "connecttimeout",
))  # fmt: skip
_TRUE = frozenset(("true", "yes", "on", "y", "t", "1"))
_FALSE = frozenset(("false", "no", "off", "n", "f", "0", ""))


@dataclass(frozen=True)
class _Text:
    """A variable's text after Jinja, and where it stands."""

    mark: Mark
    text: str


class ConnectionReader:
    """Reads the connection of one host; mistakes and secrets go to `findings`, the rest to `warnings`.

    Args:
        host: its name.
        variables: name -> the node that counts.
        values: its variables as Ansible sees them, for Jinja.
        base: the folder that relative paths start from.
        findings: collects.
    """

    def __init__(
        self,
        host: str,
        variables: Mapping[str, Entry],
        values: Mapping[str, Any],
        base: Path,
        findings: Findings,
    ) -> None:
        self.host, self.variables, self.values, self.base, self.found = host, variables, values, base, findings
        self.warnings: list[str] = []

    def read(self) -> Connection:
        """The connection; parts that are wrong are left at their defaults."""
        for name in sorted(WITHOUT_EFFECT & self.variables.keys()):
            self.warnings.append(f"{name} has no effect here")
        kind = self._choice("kind", _KINDS, "ssh")
        host = self._text("host")
        connection = Connection(
            kind=kind,
            host=host.text if host and host.text else self.host,
            port=self._port(self._text("port")),
            user=self._plain("user"),
            password=self._secret("password"),
            private_key=self._path(self._plain("private_key")),
            become=self._bool("become"),
            become_method=self._choice("become_method", _METHODS, "sudo"),
            become_password=self._secret("become_password"),
        )
        user = self._text("become_user")
        if user and user.text not in ("root", ""):
            self._wrong(user.mark, f"become_user is root here, not {user.text!r}: servers are set up as root")
        for key in ("common_args", "extra_args"):
            args = self._text(key)
            if args and args.text:
                connection = self._arguments(connection, args)
        return connection

    def _wrong(self, mark: Mark, message: str) -> None:
        self.found.mistakes.append(mark.mistake(message))

    def _entry(self, field: str) -> Entry | None:
        for name in USED[field]:
            entry = self.variables.get(name)
            if entry is not None and not is_null(entry.node):
                return entry
        return None

    def _text(self, field: str) -> _Text | None:
        entry = self._entry(field)
        if entry is None:
            return None
        if not isinstance(entry.node, Scalar):
            self._wrong(entry.node.mark, f"{entry.name} is text")
            return None
        return self._render(entry.name, entry.node)

    def _render(self, name: str, node: Scalar) -> _Text | None:
        if node.literal or ("{{" not in node.text and "{%" not in node.text):
            return _Text(node.mark, node.text)
        # Imported where it is used: most inventories have no template, and Jinja takes 40 ms to import.
        from provision.inventory.template import render

        try:
            return _Text(node.mark, render(node.text, self.values))
        except ValueError as error:
            self._wrong(node.mark, f"{name}: {error}")
            return None

    def _plain(self, field: str) -> str | None:
        found = self._text(field)
        return found.text if found and found.text else None

    def _port(self, found: _Text | None) -> int | None:
        if found is None or not found.text:
            return None
        if found.text.isdecimal() and 0 < int(found.text) < 65536:
            return int(found.text)
        self._wrong(found.mark, f"{found.text!r} is not a port")
        return None

    def _bool(self, field: str) -> bool:
        found = self._text(field)
        if found and found.text.lower() not in _TRUE | _FALSE:
            self._wrong(found.mark, f"{found.text!r} is not true or false")
        return found is not None and found.text.lower() in _TRUE

    def _choice(self, field: str, choices: Mapping[str, T], default: T) -> T:
        found = self._text(field)
        if found is None or not found.text:
            return default
        if found.text not in choices:
            hint = did_you_mean(found.text, [choice for choice in choices if "." not in choice])
            self._wrong(found.mark, f"{USED[field][0]} {found.text!r} is not supported{hint}")
        return choices.get(found.text, default)

    def _path(self, text: str | None) -> Path | None:
        return self.base / Path(text).expanduser() if text else None

    def _secret(self, field: str) -> Secret | None:
        entry = self._entry(field)
        if entry is None:
            return None
        if isinstance(entry.node, Scalar):
            found = self._render(entry.name, entry.node)
            return Secret.of(found.text) if found and found.text else None
        secret = secret_of(entry.node, self.base)
        if secret is None:
            self._wrong(entry.node.mark, f"{entry.name} is text or {{secret: env:NAME}}, file:PATH, cmd:COMMAND")
            return None
        self.found.secrets.append((entry.node.mark, secret))
        return secret

    def _arguments(self, connection: Connection, args: _Text) -> Connection:
        """Take what is understood from ssh arguments."""
        try:
            words = shlex.split(args.text)
        except ValueError as error:
            self._wrong(args.mark, f"{args.text!r}: {error}")
            return connection
        while words:
            word = words.pop(0)
            flag, value = word[:2], word[2:]
            if flag in ("-J", "-i", "-p", "-F", "-o"):
                if not value and not words:
                    self._wrong(args.mark, f"{flag} needs a value")
                    break
                connection = self._argument(connection, flag, value or words.pop(0), args.mark)
            else:
                self.warnings.append(f"ssh argument {word} has no effect here")
        return connection

    def _argument(self, connection: Connection, flag: str, value: str, mark: Mark) -> Connection:
        if flag == "-J":
            return replace(connection, jump=_hops(value))
        if flag == "-i":
            return replace(connection, private_key=connection.private_key or self._path(value))
        if flag == "-p":
            return replace(connection, port=connection.port or self._port(_Text(mark, value)))
        if flag == "-F":
            return replace(connection, config_file=self._path(value))
        name, _, setting = value.strip().replace("=", " ", 1).partition(" ")
        setting = setting.strip()
        if name.lower() == "proxyjump":
            return replace(connection, jump=_hops(setting))
        if name.lower() == "proxycommand":
            return replace(connection, proxy_command=setting)
        if name.lower() in _OPTIONS:
            return replace(connection, options=(*connection.options, f"{name}={setting}"))
        self.warnings.append(f"ssh argument -o {value} has no effect here")
        return connection


def secret_of(node: Node, base: Path) -> Secret | None:
    """The secret that a mapping `{secret: ...}` names, or None."""
    if not isinstance(node, MapNode) or set(node.entries) != {"secret"}:
        return None
    source = node.entries["secret"][1]
    if isinstance(source, Scalar) and source.text.partition(":")[0] in ("env", "file", "cmd"):
        return Secret(source.text, base=base)
    return None


def _hops(text: str) -> tuple[str, ...]:
    return tuple(hop.strip() for hop in text.split(",") if hop.strip())
