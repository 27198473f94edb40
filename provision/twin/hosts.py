"""The containers of a twin: one a host, on a network of their own, found again by their labels."""

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from requests import RequestException

from provision.dataclass import dataclass
from provision.errors import HostError, InputError
from provision.twin import names
from provision.twin.server import ALL_OF_PROC, LIKE_A_SERVER, free_port, has_banner, is_taken
from provision.values import canonical, printable, sha256

Say = Callable[[str], None]

_AT_ONCE = 4
"""Hosts that start at once: each boot costs about a second of one core."""
_TRIES = 10
_PATIENCE = 120.0
"""Seconds until sshd must answer."""


@dataclass(frozen=True)
class Material:
    """What a host is made of.

    Args:
        image: tag of its image.
        overlay: a tar that is unpacked over its `/` before it starts; empty for none.
    """

    image: str
    overlay: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class TwinHost:
    """A running host of a twin.

    Args:
        name: its inventory name.
        container: its container's name.
        image: what it was made from.
        status: Docker's word: `running`, `exited`, ...
        port: leads to its sshd; 0 while it does not run.
        address: in the twin's network.
        at: where that port is: 127.0.0.1, or the machine of an engine elsewhere.
    """

    name: str
    container: str
    image: str
    status: str
    port: int = 0
    address: str = ""
    at: str = "127.0.0.1"


def engine() -> docker.DockerClient:
    """A client of this machine's Docker engine, or of the one that DOCKER_HOST names.

    Raises:
        InputError: none answers, this user may not use it, or the twins on it could not be reached.
    """
    where = os.environ.get("DOCKER_HOST", "")
    if where.startswith("ssh://"):
        raise InputError(f"DOCKER_HOST is {where}: twins there cannot be reached", "run this on that machine")
    try:
        client = docker.from_env(timeout=300)
        client.ping()
    except (DockerException, RequestException, ValueError) as error:
        # The first cause: what is raised last quotes all that were in between.
        text = str(_first(error))
        if "Permission denied" in text:
            raise InputError("this user may not use Docker", "add it to the group docker, or use sudo") from error
        if where:
            text = f"DOCKER_HOST is {where}: {text}"
        raise InputError(
            f"twins need a Docker engine on this machine, and none answers: {printable(text, 200)}",
            "install docker.io or start it",
        ) from error
    return client


def _first(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def place(client: docker.DockerClient) -> str:
    """Where ports are that an engine publishes: 127.0.0.1, or the host that DOCKER_HOST names."""
    parts = urlsplit(client.api.base_url)
    elsewhere = parts.scheme in ("http", "https") and parts.hostname != "localhost"
    return (parts.hostname if elsewhere else None) or "127.0.0.1"


class Twin:
    """The docker objects of one inventory's twin.

    Args:
        client: of this machine's engine.
        inventory: the path that names the twin.
    """

    def __init__(self, client: docker.DockerClient, inventory: Path) -> None:
        self.client, self.inventory = client, inventory.resolve()
        self.id = names.twin_id(inventory)

    def up(self, made_of: Mapping[str, Material], known: Collection[str], key: str, say: Say) -> list[TwinHost]:
        """Make hosts run and answer, whatever an earlier run left: what is there and as it should be stays.

        Args:
            made_of: host -> its material.
            known: all hosts of the inventory; twins of others are removed.
            key: public key of who logs in.
            say: gets a line a host that was made.

        Raises:
            HostError: a host does not start or its sshd does not answer.
            InputError: Docker refuses the network.
        """
        self._network()
        for container in self._containers():
            if container.labels.get(names.HOST_LABEL) not in known:
                container.remove(force=True, v=True)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda name: self._host(name, made_of[name], key, say), made_of))

    def hosts(self) -> list[TwinHost]:
        """All hosts, also those that do not run."""
        return [_seen(self.client, container) for container in self._containers()]

    def images(self) -> dict[str, dict[str, str]]:
        """Host -> its image's name and id, for the proof."""
        return {
            one.labels.get(names.HOST_LABEL, ""): {"image": one.attrs["Config"]["Image"], "id": one.attrs["Image"]}
            for one in self._containers()
        }

    def host_key(self, host: TwinHost) -> str:
        """The line of known_hosts for a host's port.

        Raises:
            HostError: it has none.
        """
        container = self.client.containers.get(host.container)
        # Not by `cat`: over TCP the SDK loses what an exec prints when it comes in one packet with the answer's head.
        try:
            words = only_file(container, "/etc/ssh/ssh_host_ed25519_key.pub").decode("utf-8", "replace").split()
        except NotFound:
            words = []
        if len(words) < 2:
            raise HostError(host.name, "the twin has no host key")
        return f"[{host.at}]:{host.port} {words[0]} {words[1]}\n"

    def down(self) -> int:
        """Remove all that carries this twin's label, and nothing else. Returns how many objects that were."""
        filters = {"label": f"{names.LABEL}={self.id}"}
        removed = 0
        for container in self._containers():
            with _gone_is_fine():
                container.remove(force=True, v=True)
            removed += 1
        for volume in self.client.volumes.list(filters=filters):
            with _gone_is_fine():
                volume.remove(force=True)
            removed += 1
        for network in self.client.networks.list(filters=filters):
            with _gone_is_fine():
                network.remove()
            removed += 1
        return removed

    def _containers(self) -> list[Container]:
        return list(
            self.client.containers.list(all=True, ignore_removed=True, filters={"label": f"{names.LABEL}={self.id}"})
        )

    @property
    def _labels(self) -> dict[str, str]:
        return {names.LABEL: self.id, names.INVENTORY_LABEL: str(self.inventory)}

    def _network(self) -> None:
        name = names.object_name(self.id)
        if self.client.networks.list(filters={"label": f"{names.LABEL}={self.id}"}):
            return
        try:
            self.client.networks.create(name, driver="bridge", labels=self._labels)
        except APIError as error:
            raise InputError(f"Docker cannot make the network {name}: {_said(error)}") from error

    def _host(self, name: str, material: Material, key: str, say: Say) -> TwinHost:
        try:
            container = self._kept(name, material, key)
            if container is None:
                container = self._started(name, material, key)
                say(f"{name}: started from {material.image}")
            elif container.status != "running":
                container.start()
            container.reload()
        except APIError as error:
            hint = (
                "end what holds the port, or make the twin anew after `provision twin down`" if is_taken(error) else ""
            )
            raise HostError(name, f"its twin does not start: {_said(error)}", hint) from error
        host = _seen(self.client, container)
        self._wait_for_ssh(host, container)
        return host

    def _kept(self, name: str, material: Material, key: str) -> Container | None:
        """The host's container when it is whole and made of the same things; else it is removed."""
        try:
            container = self.client.containers.get(names.object_name(self.id, name))
        except NotFound:
            return None
        if container.labels.get(names.LABEL) != self.id:
            raise HostError(
                name, f"a container {container.name} is there that is not of this twin", "remove or rename it"
            )
        if container.status != "created" and container.labels.get(names.SPEC_LABEL) == _spec(material, key):
            return container
        container.remove(force=True, v=True)
        return None

    def _started(self, name: str, material: Material, key: str) -> Container:
        for attempt in range(_TRIES):
            container = self._create(name, material, key)
            try:
                if material.overlay:
                    container.put_archive("/", material.overlay)
                container.start()
            except APIError as error:
                container.remove(force=True, v=True)
                # Another process may take the port between the question and the start.
                if not is_taken(error) or attempt == _TRIES - 1:
                    raise
            else:
                break
        return container

    def _create(self, name: str, material: Material, key: str) -> Container:
        api = self.client.api
        network = names.object_name(self.id)
        # The name by which peers know it leads to it.
        endpoint = api.create_endpoint_config(aliases=[name.lower()])
        at = place(self.client)
        # On another machine its loopback would be out of reach. Only the key that was made for the twin logs in.
        binding = (at if at == "127.0.0.1" else "", free_port(at))
        config = api.create_host_config(port_bindings={22: binding}, network_mode=network, **LIKE_A_SERVER)
        labels = self._labels | {names.HOST_LABEL: name, names.SPEC_LABEL: _spec(material, key)}
        endpoints: Any = {network: endpoint}
        made = api.create_container(
            material.image,
            name=names.object_name(self.id, name),
            hostname=names.host_name(name),
            labels=labels,
            environment={"TWIN_KEY": key},
            ports=[22],
            host_config={**config, **ALL_OF_PROC},
            networking_config=dict(api.create_networking_config(endpoints)),
        )
        return self.client.containers.get(made["Id"])

    def _wait_for_ssh(self, host: TwinHost, container: Container) -> None:
        """Until its sshd answers."""
        end = time.monotonic() + _PATIENCE
        while not has_banner(host.port, host.at):
            if time.monotonic() > end:
                log = printable(_log(container), 400)
                raise HostError(host.name, f"its twin's sshd does not answer; the end of its log: {log}")
            time.sleep(0.05)


def _log(container: Container) -> str:
    return bytes(container.logs(tail=5)).decode("utf-8", "replace")


def only_file(container: Container, path: str) -> bytes:
    """A file of a container, at most 64 KiB of it; empty when it is none.

    Raises:
        NotFound: there is nothing at this path.
    """
    packed = b"".join(container.get_archive(path)[0])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.next()
        file = archive.extractfile(member) if member is not None and member.isfile() else None
        return file.read(1 << 16) if file is not None else b""


def near(hosts: Iterable[TwinHost]) -> bool:
    """Whether this machine reaches the twins' own addresses; not where their engine is elsewhere."""
    return all(has_banner(22, host.address) for host in [one for one in hosts if one.address][:1])


def twins(client: docker.DockerClient) -> dict[str, list[TwinHost]]:
    """All twins of this machine: path of the inventory -> hosts."""
    found: dict[str, list[TwinHost]] = {}
    for container in client.containers.list(all=True, ignore_removed=True, filters={"label": names.LABEL}):
        found.setdefault(container.labels.get(names.INVENTORY_LABEL, "?"), []).append(_seen(client, container))
    return found


def _spec(material: Material, key: str) -> str:
    return sha256(canonical([material.image, sha256(material.overlay), key, LIKE_A_SERVER]))[:12]


def _seen(client: docker.DockerClient, container: Container) -> TwinHost:
    network = container.attrs["NetworkSettings"]
    published = (network.get("Ports") or {}).get("22/tcp") or [{}]
    addresses = [one.get("IPAddress", "") for one in network["Networks"].values()]
    return TwinHost(
        container.labels.get(names.HOST_LABEL, ""),
        str(container.name),
        str(container.attrs["Config"]["Image"]),
        container.status,
        int(published[0].get("HostPort", 0)),
        next(filter(None, addresses), ""),
        place(client),
    )


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except NotFound:
        return
    except APIError as error:
        if "is already in progress" not in str(error):
            raise


def _said(error: APIError) -> str:
    return printable(str(error.explanation or error), 300)
