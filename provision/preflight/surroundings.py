"""What a host has around its models: room on its disks, free ports, a clock that is right."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provision.dataclass import dataclass
from provision.engine.plan import Plan
from provision.facts.model import FileSystem, Readings
from provision.preflight.finding import Finding
from provision.resources.base import Change, Resource
from provision.resources.container import Container
from provision.resources.derived_model import DerivedModel
from provision.resources.docker_config import DockerConfig, parse
from provision.resources.endpoint import Endpoint
from provision.resources.image import Image
from provision.resources.look import Found
from provision.resources.ollama_model import INCOMING, OllamaModel
from provision.resources.release import Release
from provision.resources.space import SPARE
from provision.values import human_bytes

DOCKER, CONTAINERD = "/var/lib/docker", "/var/lib/containerd"
IMAGE = 5_000_000_000
"""Bytes assumed for an image from a registry, which does not say before it is asked for layers."""
RELEASE = 2_000_000_000
"""Bytes assumed for a release's archive that is fetched by the host."""
UNPACKED = 3.5
"""How much larger the files are than their archive (Open WebUI's image by zstd: 3.45 times)."""
LATE = 300
"""Seconds of a clock's error from which certificates and tokens begin to fail."""


@dataclass(frozen=True)
class Room:
    """Bytes that a resource wants in a directory; `where` may lie on the same file system as others.

    `either`: one of several places of which the resource will take one: on one file system it counts once.
    """

    where: str
    size: int
    resource: str
    either: bool = False


def rooms(plan: Plan, readings: Readings) -> Iterator[Room]:
    """What the changes of a plan put on disks."""
    resources = {resource.id: resource for resource in plan.declared.resources}
    stores = _image_stores(_data_root(plan), readings)
    for change in plan.changes:
        yield from _rooms(resources[change.resource], change, stores)


def _rooms(resource: Resource, change: Change, stores: Sequence[str]) -> Iterator[Room]:
    match resource:
        case OllamaModel() | DerivedModel():
            size = change.download or 0
            yield Room(resource.server.models_dir, int(size * SPARE), resource.id)
            if isinstance(resource, OllamaModel) and resource.gguf is not None:
                yield Room(INCOMING, size, resource.id)
        case Image():
            archive = resource.archive
            size = int(archive.stat().st_size * UNPACKED) if archive else IMAGE
            yield from (Room(store, size, resource.id, either=len(stores) > 1) for store in stores)
            if archive:
                yield Room(INCOMING, archive.stat().st_size, resource.id)
        case Release() if change.action != "switch":
            size = resource.archive.stat().st_size if isinstance(resource.archive, Path) else RELEASE
            yield Room(resource.home, int(size * (1 + UNPACKED)), resource.id)
        case _:
            pass


def _image_stores(root: str, readings: Readings) -> tuple[str, ...]:
    """Where images will lie: engines from 29 on keep them with containerd (docker: release notes 29.0).

    Which engine comes is not known before it is there: both places count then.
    """
    major = readings.docker.partition(".")[0]
    if not major.isdigit():
        return (root, CONTAINERD)
    return (CONTAINERD,) if int(major) >= 29 else (root,)


def _data_root(plan: Plan) -> str:
    """The engine's folder: as declared, else as its configuration says, else its own."""
    configs = [one for one in plan.declared.resources if isinstance(one, DockerConfig)]
    seen = (plan.observation.of.get(one.id) for one in configs)
    texts = (one.content for one in seen if isinstance(one, Found) and one.content)
    said = [*(one.wanted for one in configs), *map(_keys, texts)]
    return next((str(keys["data-root"]) for keys in said if keys.get("data-root")), DOCKER)


def _keys(text: bytes) -> Mapping[str, Any]:
    try:
        return parse(text)
    except ValueError:
        # What is wrong with it the plan has said.
        return {}


def disks(wanted: Iterable[Room], file_systems: Mapping[str, FileSystem]) -> Iterator[Finding]:
    """One finding for each file system that something is put on.

    Args:
        wanted: what is put where.
        file_systems: directory -> the file system that it lies or will lie on.
    """
    by_mount: dict[str, list[Room]] = defaultdict(list)
    for room in wanted:
        if room.size and room.where in file_systems:
            those = by_mount[file_systems[room.where].mount]
            other = next((one for one in those if one.either and one.resource == room.resource), None)
            if room.either and other is not None:
                # Both places are on this one: whichever is taken, the room is wanted here.
                those[those.index(other)] = replace(other, either=False)
            else:
                those.append(room)
    for mount, those in by_mount.items():
        free = file_systems[those[0].where].free
        total = sum(room.size for room in those)
        parts = ", ".join(f"{human_bytes(room.size)} for {room.resource} in {room.where}" for room in those)
        text = f"{human_bytes(total)} are needed, {human_bytes(free)} are free: {parts}"
        sure = sum(room.size for room in those if not room.either)
        if sure > free:
            yield Finding("refused", f"disk {mount}", f"not enough room: {text}")
        elif total > free:
            what = "not enough room if the engine that is to come keeps images there"
            yield Finding("warning", f"disk {mount}", f"{what}: {text}")
        else:
            yield Finding("ok", f"disk {mount}", text)


def ports(plan: Plan, readings: Readings) -> Iterator[Finding]:
    """Ports that a change is going to listen on and that another program has.

    An `Endpoint` says which service or container is behind which port.
    """
    changes = {change.resource: change for change in plan.changes}
    for endpoint in plan.declared.resources:
        if not isinstance(endpoint, Endpoint) or not endpoint.after:
            continue
        server, port = endpoint.after[0], urlsplit(endpoint.url).port
        change = changes.get(server if isinstance(server, str) else server.id)
        # A container that is replaced holds its port itself; a service does so under its own name.
        if change is None or (isinstance(server, Container) and change.action != "create"):
            continue
        own = change.resource.partition(":")[2]
        holders = {listener.process for listener in readings.listeners if listener.port == port}
        if others := sorted(holder or "a process without a name" for holder in holders - {own}):
            text = f"taken by {', '.join(others)}, and {change.resource} needs it: stop that, or choose another port"
            yield Finding("warning", f"port {port}", text)


def clock(readings: Readings, now: float) -> Iterator[Finding]:
    """Certificates, signatures of repositories and sign-ins depend on it."""
    if readings.clock and abs(off := readings.clock - now) > LATE:
        way = "ahead" if off > 0 else "behind"
        yield Finding(
            "warning", "clock", f"{abs(off):.0f} s {way} of this machine's: TLS and package signatures may fail"
        )
