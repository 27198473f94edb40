"""A container with a specification. What is compared is a label with the specification's hash, never `inspect`.

(Comparing `inspect` field by field means to know every default of every engine; each tool that tried re-creates
containers for nothing, or misses changes.)
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from provision.dataclass import dataclass
from provision.resources import container_swap, docker_cli
from provision.resources.base import Change, Docker, Pending, Resource, Section, Step
from provision.resources.docker_cli import PUBLIC, SPEC, Found
from provision.resources.image import Image, named
from provision.values import ELIDED, Secret, canonical, printable, quote, sha256

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class Mount:
    """A place in the container: a `volume` (source: its name), a `bind` (source: a path) or `tmpfs` (no source)."""

    target: str
    source: str = ""
    kind: Literal["volume", "bind", "tmpfs"] = "volume"
    read_only: bool = False


@dataclass(frozen=True)
class Port:
    """A published port. Only this machine reaches it unless another `address` is given."""

    container: int
    host: int
    address: str = "127.0.0.1"
    protocol: str = "tcp"


@dataclass(frozen=True)
class Health:
    """A health check: a command as words, or one text for the container's shell. Seconds, counts."""

    command: tuple[str, ...] | str
    interval: float = 30.0
    timeout: float = 10.0
    retries: int = 3
    start_period: float = 0.0


@dataclass(frozen=True)
class Container:
    """A container of the host's Docker engine.

    Args:
        name: its name.
        image: an `Image`, or the name of one that is there.
        env: environment; a `Secret` shows up in `docker inspect` on the host, so prefer a file mounted read-only.
        network: `bridge`, `host`, `none` or the name of a network.
        restart: `no`, `on-failure`, `unless-stopped` or `always`.
        extra_hosts: name -> address or `host-gateway`.
        health: None keeps the image's own.
        command, entrypoint: empty keeps the image's own.
        devices: CDI names such as `nvidia.com/gpu=all`, or device paths.
        memory: bytes, 0 is no limit.
        stop_timeout: seconds that it gets to end by itself before it is replaced or restarted.
        adopt: take over a container of that name that somebody else made; its volumes are kept.
        wait: seconds to be running, and healthy where there is a health check.
        after: resources whose change means that it is to be looked at again.
    """

    name: str
    image: Image | str
    env: Mapping[str, str | Secret] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    network: str = "bridge"
    restart: str = "unless-stopped"
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    health: Health | None = None
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    hostname: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    read_only: bool = False
    init: bool = False
    devices: tuple[str, ...] = ()
    memory: int = 0
    shm_size: int = 0
    stop_timeout: int = 30
    adopt: bool = True
    wait: float = 120.0
    after: tuple[Resource, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`container:NAME`."""
        return f"container:{self.name}"

    @property
    def image_name(self) -> str:
        """The image's local name."""
        return self.image if isinstance(self.image, str) else self.image.name

    def spec(self) -> dict[str, Any]:
        """The specification without secrets: what is set, as JSON values."""
        spec: dict[str, Any] = {
            "image": self.image_name,
            "digest": self.image.pinned if isinstance(self.image, Image) else None,
            "env": {key: ELIDED if isinstance(value, Secret) else value for key, value in self.env.items()},
            "mounts": [vars(mount) for mount in sorted(self.mounts, key=lambda mount: mount.target)],
            "ports": [vars(port) for port in sorted(self.ports, key=lambda port: (port.host, port.protocol))],
            "health": vars(self.health) if self.health else None,
        }
        plain = "network restart extra_hosts command entrypoint labels user hostname cap_add cap_drop security"
        for key in f"{plain} read_only init devices memory shm_size".split():
            value = getattr(self, key)
            spec[key] = (
                dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
            )
        return {key: value for key, value in spec.items() if value}

    def hash(self) -> str:
        """Of the specification with its secrets.

        Raises:
            InputError: a secret cannot be had.
        """
        secrets = {key: sha256(value.reveal()) for key, value in self.env.items() if isinstance(value, Secret)}
        return sha256(canonical([self.spec(), secrets]))

    def probe(self) -> str:
        """The container, one that an interrupted replacement left, the image; last lines if it does not run."""
        logs = f"timeout 10 docker logs --tail 15 {quote(self.name)} 2>&1 | sed 's/^/log /'"
        return (
            docker_cli.TOOLS
            + f"said=$(inspect container {quote(self.name)} {quote(container_swap.parked(self.name))})\n"
            + "printf '%s\\n' \"$said\"\n"
            + docker_cli.inspect("image", self.image_name)
            + f'case $said in *\'"Status":"running"\'*) ;; *\'"State":\'*) {logs} ;; esac\n'
        )

    def observe(self, section: Section) -> Found:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        quiet = b"\n".join(line for line in section.out.splitlines() if not line.startswith(b"log "))
        found = docker_cli.found(Section(section.rc, quiet, section.err))
        logs = [line.removeprefix("log ") for line in section.lines if line.startswith("log ")]
        return Found((*found.objects, *(("log", {"text": printable(line, 300)}) for line in logs)), found.complaint)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create`, `replace`, `start`, `restart`, or `wait` for its health.

        Raises:
            ValueError: somebody else's container has the name, and it is not to be adopted.
        """
        by_name = {str(item.get("Name")).lstrip("/"): item for item in observed.of("container")}
        there, left = by_name.get(self.name), by_name.get(container_swap.parked(self.name))
        after = {**self.spec(), "spec": self.hash()[:12]}
        earlier = pending.any(*self.after, *((self.image,) if isinstance(self.image, Image) else ()))
        if observed.complaint and there is None:
            return Change(self.id, "create", observed.complaint, after=after, uncertain=True)
        if left is not None:
            return Change(self.id, "replace", "an earlier replacement was interrupted", after=after)
        if there is None:
            return Change(self.id, "create", "not there", after=after)
        before = _known(there)
        if not docker_cli.labels(there).get(SPEC):
            if not self.adopt:
                raise ValueError(
                    f"a container {self.name} is there that was not made by provision; rename or remove it"
                )
            why = "adopted: it was made by somebody else; its volumes are kept"
            return Change(self.id, "replace", why, before, after)
        if docker_cli.labels(there)[SPEC] != self.hash():
            changed = sorted(key for key in before.keys() | self.spec() if before.get(key) != self.spec().get(key))
            why = f"{', '.join(changed) or 'a secret'} changed"
            return Change(
                self.id,
                "replace",
                why,
                {key: before.get(key) for key in changed},
                {key: after.get(key) for key in changed},
            )
        image = named(observed.of("image"), self.image_name)
        if image is not None and image.get("Id") != there.get("Image"):
            return Change(
                self.id, "replace", f"{self.image_name} is another image now", {"image": there.get("Image")}, after
            )
        if by_hand := self._changed_by_hand(there):
            why = f"{', '.join(by_hand)} changed by hand"
            return Change(self.id, "replace", why, after={"env": by_hand})
        if earlier is not None:
            return Change(
                self.id, "replace", f"after {earlier.action} of {earlier.resource}", before, after, uncertain=True
            )
        return self._by_state(there, tuple(item["text"] for item in observed.of("log")))

    def _changed_by_hand(self, there: dict[str, Any]) -> list[str]:
        """Names of variables that differ although the label is ours: programs that re-create containers copy labels."""
        found = (there.get("Config") or {}).get("Env")
        if found is None:
            return []
        env = dict(str(text).partition("=")[::2] for text in found)
        wanted = {key: value.reveal() if isinstance(value, Secret) else value for key, value in self.env.items()}
        return [key for key in sorted(wanted) if env.get(key) != wanted[key]]

    def _by_state(self, there: dict[str, Any], log: tuple[str, ...]) -> Change | None:
        state = there.get("State") or {}
        status, health = str(state.get("Status")), str((state.get("Health") or {}).get("Status") or "")
        before = {"status": status, **({"health": health} if health else {})}
        if status == "running" and health == "starting":
            return Change(self.id, "wait", "not healthy yet", before, {"health": "healthy"})
        if status == "running":
            if health != "unhealthy":
                return self._by_policy(there)
            return Change(self.id, "restart", "unhealthy", before, {"health": "healthy"})
        last = f": {log[-1]}" if log else ""
        action = "restart" if status in ("restarting", "paused", "dead") else "start"
        return Change(
            self.id, action, f"{status}, exit status {state.get('ExitCode')}{last}", before, {"status": "running"}
        )

    def _by_policy(self, there: dict[str, Any]) -> Change | None:
        """`update`: a restart policy can be changed while it runs, by `docker update` as by us."""
        found = ((there.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
        if found is None or (found or "no") == self.restart:
            return None
        why = f"restart policy {found or 'no'} -> {self.restart}"
        return Change(self.id, "update", why, {"restart": found}, {"restart": self.restart})

    def steps(self, change: Change) -> Iterator[Step]:
        """One step by the SDK: make it, or put it in the place of the old one, which comes back if that fails."""

        def act(client: "docker.DockerClient") -> None:
            if change.action in ("create", "replace"):
                container_swap.swap(client, self.name, self._options(), self.wait, self.stop_timeout)
            elif change.action == "update":
                container_swap.set_restart(client.containers.get(self.name), self.restart)
            else:
                container_swap.nudge(client, self.name, change.action, self.wait, self.stop_timeout)

        yield Docker(act, f"{change.action} container {self.name}")

    def _options(self) -> dict[str, Any]:
        """Arguments of `client.containers.create`."""
        import docker

        secrets = {key: value.reveal() if isinstance(value, Secret) else value for key, value in self.env.items()}
        cdi = [device for device in self.devices if "=" in device]
        options: dict[str, Any] = {
            "image": self.image_name,
            "name": self.name,
            "environment": secrets,
            "labels": {**self.labels, SPEC: self.hash(), PUBLIC: canonical(self.spec())},
            "mounts": [
                docker.types.Mount(mount.target, mount.source or None, mount.kind, mount.read_only)
                for mount in self.mounts
            ],
            "ports": {f"{port.container}/{port.protocol}": (port.address, port.host) for port in self.ports},
            "restart_policy": {"Name": self.restart},
            "extra_hosts": dict(self.extra_hosts),
            "network_mode": self.network,
            "command": list(self.command) or None,
            "entrypoint": list(self.entrypoint) or None,
            "user": self.user or None,
            "hostname": self.hostname or None,
            "cap_add": list(self.cap_add) or None,
            "cap_drop": list(self.cap_drop) or None,
            "security_opt": list(self.security) or None,
            "read_only": self.read_only,
            "init": self.init or None,
            "mem_limit": self.memory or None,
            "shm_size": self.shm_size or None,
            "devices": [device for device in self.devices if "=" not in device] or None,
            "device_requests": [docker.types.DeviceRequest(driver="cdi", device_ids=cdi)] if cdi else None,
            "healthcheck": _health(self.health),
        }
        return {key: value for key, value in options.items() if value is not None}


def _health(health: Health | None) -> dict[str, Any] | None:
    if health is None:
        return None
    second = 10**9
    shell = isinstance(health.command, str)
    return {
        "test": ["CMD-SHELL", health.command] if shell else ["CMD", *health.command],
        "interval": int(health.interval * second),
        "timeout": int(health.timeout * second),
        "retries": health.retries,
        "start_period": int(health.start_period * second),
    }


def _known(there: dict[str, Any]) -> dict[str, Any]:
    """The specification that our label remembers; of somebody else's container only what is safe to show."""
    try:
        known = json.loads(docker_cli.labels(there).get(PUBLIC) or "{}")
    except ValueError:
        known = {}
    return known if isinstance(known, dict) and known else {"image": (there.get("Config") or {}).get("Image")}
