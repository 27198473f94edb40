"""How one host is reached, as the inventory says it."""

from pathlib import Path
from typing import Literal

from provision.dataclass import dataclass
from provision.values import Secret

Kind = Literal["ssh", "local", "docker"]


@dataclass(frozen=True)
class Target:
    """Where a host is and who logs in. What is None is left to `~/.ssh/config` and OpenSSH's defaults.

    Args:
        name: its inventory name, for messages.
        kind: `ssh`; `local`, this machine; `docker`, a container of this machine named `host`.
        host: address, name or alias of `~/.ssh/config`; empty means `name`.
        become: False: never sudo or su; the login user must be root. True: only if it is not root already.
        become_user: only `root` can be served.
        become_password: None and `become_method` is sudo: `password` is used when sudo asks.
        jump: bastions in the order they are passed, each `[user@]host[:port]`.
        proxy_command: run by `sh`, with OpenSSH's `%h %p %r %n %%`.
        config_file: read instead of `~/.ssh/config` (`-F`).
        options: OpenSSH options (`-o`), each `Name=value`.
        connect_timeout: seconds for the TCP connection; the banner and the login get three times as much each.
    """

    name: str
    kind: Kind = "ssh"
    host: str = ""
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    private_key: Path | None = None
    become: bool = True
    become_method: str = "sudo"
    become_user: str = "root"
    become_password: Secret | None = None
    jump: tuple[str, ...] = ()
    proxy_command: str | None = None
    config_file: Path | None = None
    options: tuple[str, ...] = ()
    connect_timeout: float = 10.0

    @property
    def address(self) -> str:
        """What is connected to: `host`, or the name."""
        return self.host or self.name
