"""Disposable hosts: Debian with systemd as PID 1 and sshd on a port of 127.0.0.1."""

import os
import secrets
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container

from provision.twin.server import ALL_OF_PROC, LIKE_A_SERVER, free_port, has_banner, is_taken
from tests.lab import images
from tests.lab.cache import LabError
from tests.lab.machine import client
from tests.lab.wait import until

LABEL = "provision-lab"
"""Docker objects of a test run carry it; its value is the process that made them, as `PID:START`."""


@dataclass(frozen=True)
class Result:
    """How a command in a host ended: exit status, standard output, standard error."""

    rc: int
    out: str
    err: str


@dataclass(frozen=True)
class LabHost:
    """A running host.

    Attributes:
        name: its host name.
        suite: `debian-12` or `debian-13`.
        port: the port of 127.0.0.1 that leads to its sshd.
        ports: all published ports, host's port to port of 127.0.0.1.
        container: the container it is.
        volume: the named volume at its /var/lib/docker, removed with it.
    """

    name: str
    suite: str
    port: int
    ports: Mapping[int, int]
    container: Container
    volume: str | None = None

    @classmethod
    def start(
        cls,
        suite: str = "debian-13",
        variant: str = "plain",
        name: str | None = None,
        volume: str | None = None,
        network: str | None = None,
        ip: str | None = None,
        ports: Mapping[int, int] | None = None,
        labels: Mapping[str, str] | None = None,
        cgroup: str = "v2",
        wait: bool = True,
        image: str = "",
    ) -> Self:
        """Start a fresh host and wait for its sshd.

        Args:
            suite: one of `images.SUITES`.
            variant: one of `images.VARIANTS`.
            name: its name; a random one by default.
            volume: a named volume for /var/lib/docker (`seeds.seeded_volume`); an empty one by default.
            network: a docker network; the default bridge otherwise.
            ip: its address in `network`.
            ports: the host's port to a port of 127.0.0.1, 0 for any; 22 is always published.
            labels: in place of the label by which `python -m tests.lab clean` finds it.
            cgroup: `v2` as on a current server, or `hybrid` for limits that a nested engine can enforce.
            wait: whether to wait until sshd answers; if not, call `wait_for_ssh` later.
            image: in place of the one of `suite` and `variant`.

        Raises:
            LabError: there is no such image.
            TimeoutError: sshd does not answer.
        """
        name = name or f"lab-{secrets.token_hex(4)}"
        image = image or images.tag(suite, variant)
        wanted = {22: 0} | dict(ports or {})
        for _ in range(10):
            published = {inner: outer or free_port() for inner, outer in wanted.items()}
            try:
                container = client().api.create_container(
                    image,
                    name=name,
                    hostname=name,
                    labels=dict(labels) if labels else owner(),
                    environment={"LAB_CGROUP": cgroup},
                    ports=list(published),
                    host_config=_host_config(published, volume, network),
                    networking_config=_networking_config(network, ip),
                )
            except ImageNotFound as error:
                raise LabError(f"no image {image}: run `make prepare`") from error
            host = cls(name, suite, published[22], published, client().containers.get(container["Id"]), volume)
            try:
                host.container.start()
            except APIError as error:
                _remove_container(name)
                # another process may take the port between the question and the start
                if is_taken(error):
                    continue
                raise
            if wait:
                host.wait_for_ssh()
            return host
        raise LabError(f"{name}: the ports {sorted(wanted.values())} of 127.0.0.1 are in use")

    @property
    def address(self) -> str:
        """Its address in the docker network, reachable from this machine and from other hosts."""
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        return str(next(network["IPAddress"] for network in networks.values() if network["IPAddress"]))

    @property
    def known_hosts(self) -> str:
        """The line of known_hosts for its published port."""
        kind, key, *_ = self.check("cat /etc/ssh/ssh_host_ed25519_key.pub").split()
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    def wait_for_ssh(self, timeout: float = 120) -> None:
        """Wait until its sshd answers.

        Raises:
            TimeoutError: no banner; the end of the container's log is shown.
        """
        try:
            until(lambda: has_banner(self.port), f"{self.name}: SSH banner on port {self.port}", timeout)
        except TimeoutError as error:
            log = self.container.logs(tail=20).decode(errors="replace")
            raise TimeoutError(f"{error}; its log: {log}") from error

    def exec(self, command: str, timeout: float = 300) -> Result:
        """Run a command in `sh` as root, without SSH."""
        words = ("docker", "exec", self.name, "sh", "-c", command)
        ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
        return Result(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))

    def check(self, command: str, timeout: float = 300) -> str:
        """As `exec`, for a command that must succeed; returns its output.

        Raises:
            AssertionError: it failed.
        """
        result = self.exec(command, timeout)
        assert result.rc == 0, f"{self.name}: {command!r} ended with {result.rc}: {result.err}{result.out}"
        return result.out

    def put(self, path: str, data: bytes | Path, mode: int = 0o644) -> None:
        """Write a file of root's, its directories too. `data` may be a file of this machine."""
        script = f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat > {shlex.quote(path)}"
        words = ("docker", "exec", "-i", self.name, "sh", "-c", f"{script} && chmod {mode:o} {shlex.quote(path)}")
        if isinstance(data, Path):
            with data.open("rb") as file:
                subprocess.run(words, stdin=file, capture_output=True, check=True)
        else:
            subprocess.run(words, input=data, capture_output=True, check=True)

    def ssh(self, command: str, user: str = "admin", timeout: float = 60) -> Result:
        """Run a command through the OpenSSH client with the lab's key; the host key is checked."""
        known = f"KnownHostsCommand=/bin/echo {self.known_hosts.strip()}"
        options = ("-o", known, "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes")
        words = ("ssh", "-F", "none", "-i", str(images.key()), "-p", str(self.port), "-o", "BatchMode=yes", *options)
        target = (f"{user}@127.0.0.1", command)
        ended = subprocess.run(
            (*words, *target), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
        return Result(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))

    def boot_id(self) -> str:
        """The id of this boot; empty while the host is down."""
        return self.exec("cat /proc/sys/kernel/random/boot_id").out.strip()

    def reboot(self, timeout: float = 120) -> None:
        """Reboot and wait until sshd answers again.

        Raises:
            TimeoutError: it did not come back.
        """
        before = self.boot_id()
        self.exec("systemctl reboot")
        until(lambda: self.boot_id() not in ("", before), f"{self.name}: a new boot", timeout)
        self.wait_for_ssh(timeout)

    def wait_until_up(self, timeout: float = 120) -> str:
        """Wait until systemd has started everything; returns `running` or `degraded`."""

        def state() -> str | None:
            answer = self.exec("systemctl is-system-running").out.strip()
            return answer if answer in ("running", "degraded") else None

        return until(state, f"{self.name}: all units started", timeout) or ""

    def remove(self, keep_volume: bool = False) -> None:
        """Remove the host and its volumes. Does nothing when it is gone already."""
        _remove_container(self.name)
        if self.volume and not keep_volume:
            _remove_volume(self.volume)


def clean(everything: bool = False) -> int:
    """Remove hosts, volumes and networks that ended runs left behind; with `everything` those of running ones too.

    Returns how many were removed.
    """
    docker = client()
    removed = 0
    for container in docker.containers.list(all=True, filters={"label": LABEL}):
        if everything or not _is_running(container.labels[LABEL]):
            _remove_container(str(container.name))
            removed += 1
    for volume in docker.volumes.list(filters={"label": LABEL}):
        if everything or not _is_running(volume.attrs["Labels"][LABEL]):
            _remove_volume(volume.name)
            removed += 1
    for network in docker.networks.list(filters={"label": LABEL}):
        if everything or not _is_running(network.attrs["Labels"][LABEL]):
            network.remove()
            removed += 1
    return removed


def _host_config(ports: Mapping[int, int], volume: str | None, network: str | None) -> dict[str, Any]:
    binds = [f"{volume}:/var/lib/docker:rw"] if volume else None
    published: dict[int | str, Any] = {inner: ("127.0.0.1", outer) for inner, outer in ports.items()}
    config = client().api.create_host_config(
        port_bindings=published, binds=binds, network_mode=network, **LIKE_A_SERVER
    )
    return {**config, **ALL_OF_PROC}


def _networking_config(network: str | None, ip: str | None) -> dict[str, Any] | None:
    if network is None:
        return None
    api = client().api
    # types-docker has the argument's type wrong: it is network name -> endpoint
    endpoints: Any = {network: api.create_endpoint_config(ipv4_address=ip)}
    return dict(api.create_networking_config(endpoints))


def owner() -> dict[str, str]:
    """The label for other docker objects that a test makes, such as networks: `clean` finds them by it."""
    return {LABEL: _this_process()}


def _this_process() -> str:
    return f"{os.getpid()}:{_start_time(os.getpid())}"


def _is_running(process: str) -> bool:
    pid, _, started = process.partition(":")
    return pid.isdecimal() and _start_time(int(pid)) == started


def _start_time(pid: int) -> str:
    try:
        # the name, the second field, may hold spaces and brackets: count from its end
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _remove_container(name: str) -> None:
    try:
        client().containers.get(name).remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if "is already in progress" not in str(error):
            raise


def _remove_volume(name: str) -> None:
    try:
        client().volumes.get(name).remove(force=True)
    except NotFound:
        return
