"""Sessions to lab hosts, with a known_hosts file and an ssh_config of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision.host.connect import connect
from provision.host.session import Session
from provision.host.target import Target
from tests.lab import images
from tests.lab.hosts import LabHost


@dataclass(frozen=True)
class Desk:
    """The control machine's side: a folder with `config` and `known_hosts`, in place of those of `~/.ssh`."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> "Desk":
        """A desk that knows no host."""
        folder.mkdir(parents=True, exist_ok=True)
        desk = cls(folder)
        desk.config.write_text(
            f"UserKnownHostsFile {desk.known_hosts}\nGlobalKnownHostsFile /dev/null\nIdentityAgent none\n"
        )
        desk.known_hosts.write_text("")
        return desk

    @property
    def config(self) -> Path:
        """The ssh_config."""
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        """The keys that are trusted."""
        return self.folder / "known_hosts"

    def knows(self, *hosts: LabHost) -> "Desk":
        """Trust these hosts, at their published ports, at 127.0.0.1 as a bastion sees them, and at their addresses."""
        for host in hosts:
            key = host.known_hosts.split(" ", 1)[1]
            names = f"[127.0.0.1]:{host.port},127.0.0.1,{host.address}"
            with self.known_hosts.open("a") as file:
                file.write(f"{names} {key}")
        return self

    def target(self, there: LabHost, /, **changes: Any) -> Target:
        """How the host is reached: as admin, by the lab's key."""
        target = Target(
            name=there.name,
            host="127.0.0.1",
            port=there.port,
            user="admin",
            private_key=images.key(),
            config_file=self.config,
        )
        return replace(target, **changes)

    @contextmanager
    def session(self, there: LabHost, /, **changes: Any) -> Iterator[Session]:
        """A session that is closed at the end."""
        session = connect(self.target(there, **changes))
        try:
            yield session
        finally:
            session.close()
