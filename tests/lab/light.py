"""Many light hosts on a small machine: sshds with root directories of their own, without systemd and Docker."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.twin.server import free_port
from tests.lab import images
from tests.lab.cache import RECIPES, made, recipe_hash, run
from tests.lab.machine import client
from tests.lab.wait import until

_RECIPE = RECIPES / "light"
_TOGETHER = 40
"""So many are started before the first is waited for."""


@dataclass(frozen=True)
class LightHost:
    """An sshd of its own on a port of 127.0.0.1, with the lab's users and key."""

    name: str
    port: int
    known_hosts: str


def root() -> Path:
    """What all light hosts see as their root, each with a writable layer of its own: a lab host's files."""
    image = client().images.get(images.tag("debian-13"))

    def build(folder: Path) -> None:
        archive = folder / "root.tar"
        container = client().containers.create(image)
        try:
            with archive.open("wb") as file:
                for piece in container.export():
                    assert isinstance(piece, bytes)
                    file.write(piece)
        finally:
            container.remove()
        (folder / "root").mkdir()
        run(("tar", "-xf", archive, "-C", folder / "root", "--exclude=./dev/*", "--exclude=dev/*"), what="light hosts")
        archive.unlink()
        key = folder / "root" / "etc" / "ssh" / "ssh_host_ed25519_key"
        run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key), what="light hosts")

    return made("light-root", recipe_hash(str(image.id), _RECIPE), build) / "root"


@contextmanager
def light_hosts(count: int) -> Iterator[list[LightHost]]:
    """Start so many hosts; they and their files are gone at the end."""
    lower = root()
    key = " ".join((lower / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text().split()[:2])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="light")))
        hosts: list[LightHost] = []
        for number in range(count):
            port = free_port()
            host = LightHost(f"light{number + 1:03}", port, f"[127.0.0.1]:{port} {key}\n")
            stack.callback(_end, _start(folder, lower, host))
            hosts.append(host)
            if number % _TOGETHER == _TOGETHER - 1:
                _wait(hosts[-_TOGETHER:])
        _wait(hosts[-_TOGETHER:])
        yield hosts


def _start(folder: Path, lower: Path, host: LightHost) -> "subprocess.Popen[bytes]":
    own = folder / host.name
    own.mkdir()
    spaces = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private")
    words = ("unshare", *spaces, "sh", str(_RECIPE / "host.sh"), str(own), str(lower), host.name, str(host.port))
    with (folder / f"{host.name}.log").open("wb") as log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # `unshare --fork` ignores SIGTERM; its child ends with it.
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _wait(hosts: list[LightHost]) -> None:
    for host in hosts:
        until(lambda host=host: _greets(host.port), f"{host.name}: SSH banner", 120)  # type: ignore[misc]


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
