"""What an inventory is once it is read: values only."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provision.dataclass import dataclass
from provision.errors import InputError, Mistake
from provision.inventory.names import did_you_mean
from provision.inventory.patterns import match
from provision.values import Secret

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Connection:
    """How a host is reached. What is None is left to ~/.ssh/config and its defaults.

    Args:
        kind: by SSH, on this machine, or into a container of this machine's Docker (`host` is its name).
        host: address or name to connect to.
        port: TCP port.
        user: login name.
        password: of the login.
        private_key: file with the key, `~` expanded, relative to the inventory.
        become: root is reached by `become_method`.
        become_method: `sudo` or `su`.
        become_user: always `root`.
        become_password: for `become_method`.
        jump: bastions in the order they are passed, each `[user@]host[:port]`, as of `-J` and ProxyJump.
        proxy_command: as of ProxyCommand.
        config_file: an ssh_config used in place of ~/.ssh/config, as of `-F`.
        options: OpenSSH options that say where files and keys are, each `Name=value`.

    The names are those of `provision.host.target.Target`.
    """

    kind: Literal["ssh", "local", "docker"]
    host: str
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    private_key: Path | None = None
    become: bool = False
    become_method: Literal["sudo", "su"] = "sudo"
    become_user: str = "root"
    become_password: Secret | None = None
    jump: tuple[str, ...] = ()
    proxy_command: str | None = None
    config_file: Path | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """One host of the fleet.

    Args:
        name: inventory name.
        groups: all its groups, in the order in which later ones win.
        vars: its variables, exactly Ansible's, before Jinja.
        roles: what is to be applied, in order.
        settings: role name -> its validated settings.
        connection: how it is reached.
        address: where its peers reach it, when the inventory says so; None means its primary address fact.
        artifacts: the local directory with files for sites without internet.
        warnings: what is legal but has no effect here.
    """

    name: str
    groups: tuple[str, ...]
    vars: Mapping[str, object] = field(repr=False)
    roles: tuple[str, ...]
    settings: "Mapping[str, BaseModel]" = field(repr=False)
    connection: Connection
    address: str | None = None
    artifacts: Path | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """The hosts of an inventory in its order.

    Args:
        path: the inventory as it was named.
        hosts: name -> host.
        groups: group name -> names of the hosts in it and in the groups below; `all` is one of them.
        foreign: names of variables that mean nothing here (other tools' own), each where it is set first.
        warnings: about the inventory as a whole.
        files: every file that was read.
    """

    path: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    foreign: tuple[Mistake, ...] = ()
    warnings: tuple[Mistake, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def base(self) -> Path:
        """The folder that relative paths in the inventory start from."""
        return self.path if self.path.is_dir() else self.path.parent

    def match(self, pattern: str) -> tuple[Host, ...]:
        """Hosts of an Ansible host pattern.

        Raises:
            InputError: a term of the pattern names nothing.
        """
        return tuple(self.hosts[name] for name in match(pattern, self.hosts, self.groups))

    def members(self, name: str) -> tuple[Host, ...]:
        """The hosts of a group, or the one host of that name.

        Raises:
            InputError: there is neither.
        """
        if name in self.hosts:
            return (self.hosts[name],)
        if name in self.groups:
            return tuple(self.hosts[host] for host in self.groups[name])
        raise InputError(f"there is no host or group {name!r}{did_you_mean(name, [*self.hosts, *self.groups])}")
