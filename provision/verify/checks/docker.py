"""Checks of the Docker engine, its containers and its volumes."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any

from provision.dataclass import dataclass
from provision.resources import docker_cli
from provision.resources.base import Section
from provision.resources.cdi import lacking
from provision.resources.container import Container
from provision.resources.docker_config import PATH, merge, parse
from provision.resources.image import Image, named
from provision.resources.service import RELOADED
from provision.resources.volume import Volume
from provision.values import Secret, printable, quote
from provision.verify.check import Check, Verdict
from provision.verify.checks.sources import Asked, Told

ENGINE = "docker daemon"
CONTAINERS = "containers"
_TOLD = {
    "log-driver": ("LoggingDriver",),
    "live-restore": ("LiveRestoreEnabled",),
    "data-root": ("DockerRootDir",),
    "storage-driver": ("Driver",),
    "default-runtime": ("DefaultRuntime",),
    "registry-mirrors": ("RegistryConfig", "Mirrors"),
    "debug": ("Debug",),
    "labels": ("Labels",),
}
"""Keys of daemon.json, and where `docker info` tells what the engine runs with."""
_OLDER = "it is older than that setting; remove the container (its volumes stay) and apply"
"""Docker gives its logging options to a container once, when it is made."""
_SLACK = 2
"""Seconds: a file's time has no fractions."""


@dataclass(frozen=True)
class DockerDaemon(Check):
    """The running engine has the declared keys of daemon.json, which it reads when it starts or is reloaded.

    Args:
        wanted: keys of daemon.json.
        gpus: it offers NVIDIA's GPUs to containers.
    """

    wanted: Mapping[str, Any]
    gpus: bool = False
    name = ENGINE
    needs = ("service docker",)
    early = True

    def question(self) -> str:
        """Times (s: since boot, now and of two files; µs after boot: the engine's start), `docker info`, the file."""
        info = Told("info")
        script = _DAEMON.format(path=PATH, mark=f"{RELOADED}/docker.service", info=info.call)
        return Asked(script, ["docker.service"], [info])

    def judge(self, answer: Section) -> Verdict:
        """What the engine tells, what the file says, and that the engine is younger than the file."""
        ages, told, content = (*answer.text.split("\n", 2), "", "")[:3]
        up, started, now, reloaded, changed = map(float, ages.split())
        if not told.startswith("info "):
            raise ValueError("the engine gave no answer")
        info = json.loads(told.removeprefix("info "))
        if errors := info.get("ServerErrors"):
            return Verdict("failed", f"the engine does not answer: {printable(str(errors[0]), 200)}")
        complaints = list(self._told(info))
        if self.gpus and (gpus := lacking(info)):
            complaints.append(gpus)
        there = parse(content.encode())
        complaints += [
            f"{PATH} has {key} {json.dumps(there.get(key))}, not {json.dumps(value)}"
            for key, value in self.wanted.items()
            if merge(there, {key: value}) != there
        ]
        running = min(up - started / 1e6, now - reloaded)
        if not complaints and running > now - changed + _SLACK:
            complaints.append(f"the engine started before {PATH} was changed: restart it")
        return Verdict.of(complaints, str(info.get("ServerVersion", "")))

    def _told(self, info: Mapping[str, Any]) -> Iterator[str]:
        for key, value in self.wanted.items():
            if key in _TOLD and (found := _at(info, _TOLD[key])) != _normal(value):
                yield f"{key} is {json.dumps(found)}, not {json.dumps(value)}"
        registries = info.get("RegistryConfig") or {}
        indexes, networks = registries.get("IndexConfigs") or {}, registries.get("InsecureRegistryCIDRs") or []
        for name in (str(one).rpartition("://")[2] for one in self.wanted.get("insecure-registries", [])):
            if indexes.get(name, {}).get("Secure", True) and name not in networks:
                yield f"the engine does not talk to {name} without TLS"
        for runtime in self.wanted.get("runtimes", {}):
            if runtime not in info.get("Runtimes", {}):
                yield f"the engine has no runtime {runtime}"


_DAEMON = """\
unit docker.service
read -r up _ </proc/uptime
set -- $(stat -c '%n=%Y' -- {mark} {path} 2>/dev/null)
reloaded=0 changed=0
for f; do
    case $f in {mark}=*) reloaded=${{f##*=}} ;; *) changed=${{f##*=}} ;; esac
done
echo "$up $started $(date +%s) $reloaded $changed"
{info}
cat {path} 2>/dev/null || :
"""


def _at(info: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = info
    for key in keys:
        value = (value or {}).get(key)
    return _normal(value)


def _normal(value: Any) -> Any:
    """The engine writes a mirror's address with a slash at its end."""
    return [str(item).rstrip("/") for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Containers(Check):
    """The declared containers run, healthy where they can tell."""

    names: tuple[str, ...]
    name = CONTAINERS
    needs = (ENGINE,)
    early = True

    def question(self) -> str:
        """Each container."""
        return _asking(Told("container", name) for name in self.names)

    def judge(self, answer: Section) -> Verdict:
        """Each of them."""
        there = _there(_answered(answer))
        complaints = [text for name in self.names if (text := _state(name, there.get(name)))]
        return Verdict.of(complaints, ", ".join(there))


@dataclass(frozen=True)
class ContainerSettings(Check):
    """The declared containers are the ones that were declared: image, mounts, ports, policies, labels, environment.

    Args:
        containers: all of the host.
        logs: `log-driver` and `log-opts` that the engine gives to a new container; empty: not declared.
    """

    containers: tuple[Container, ...]
    logs: Mapping[str, Any] = field(default_factory=dict)
    name = "container settings"
    needs = (CONTAINERS,)
    early = True

    def question(self) -> str:
        """The containers and their images."""
        images = [one.image_name for one in self.containers]
        marks = [one.image.mark for one in self.containers if isinstance(one.image, Image) and one.image.archive]
        containers = [Told("container", one.name) for one in self.containers]
        return _asking([*containers, *(Told("image", name) for name in dict.fromkeys(images + marks))])

    def judge(self, answer: Section) -> Verdict:
        """Each of them."""
        found = _answered(answer)
        there = _there(found)
        complaints = [
            text
            for one in self.containers
            for text in complaints_of(one, there.get(one.name), found.of("image"), self.logs)
        ]
        return Verdict.of(complaints, f"{len(self.containers)} as declared")


def _asking(objects: Iterable[Told]) -> Asked:
    told = tuple(objects)
    return Asked("".join(f"{one.call}\n" for one in told) + ":\n", answers=told)


def _answered(answer: Section) -> docker_cli.Found:
    """What was found. Of what is not there the engine's API has nothing but a message."""
    found = docker_cli.found(answer)
    there = tuple((kind, item) for kind, item in found.objects if item.keys() != {"message"})
    said = [str(item["message"]) for _, item in found.objects if item.keys() == {"message"}]
    wrong = [printable(text, 200) for text in said if "no such" not in text.lower()]
    if complaint := found.complaint or next(iter(wrong), "") or (f"exit status {answer.rc}" if answer.rc else ""):
        raise ValueError(complaint)
    return docker_cli.Found(there)


def _there(found: docker_cli.Found) -> dict[str, dict[str, Any]]:
    return {str(item["Name"]).lstrip("/"): item for item in found.of("container")}


def _state(name: str, item: Mapping[str, Any] | None) -> str:
    if item is None:
        return f"{name} is missing"
    state = item["State"]
    if state["Status"] != "running":
        return f"{name} is {state['Status']}"
    health = str((state.get("Health") or {}).get("Status") or "healthy")
    return "" if health == "healthy" else f"{name} is {health}"


def complaints_of(
    one: Container, item: dict[str, Any] | None, images: tuple[dict[str, Any], ...], logs: Mapping[str, Any]
) -> list[str]:
    """What is wrong with one container, by what `docker inspect` says of it and of images."""
    if item is None:
        return [f"{one.name} is missing"]
    texts = [*_policies(one, item["HostConfig"]), *_mounts(one, item.get("Mounts") or [])]
    texts += [*_labels(one, docker_cli.labels(item)), *_image(one, item, images)]
    texts += [*_environment(one, item, images), *_logs(item["HostConfig"].get("LogConfig") or {}, logs)]
    return [f"{one.name} {text}" for text in texts]


def _policies(one: Container, config: Mapping[str, Any]) -> Iterator[str]:
    policy = (config.get("RestartPolicy") or {}).get("Name") or "no"
    if policy != one.restart:
        yield f"has the restart policy {policy}, not {one.restart}"
    if config.get("NetworkMode") not in (one.network, "default" if one.network == "bridge" else one.network):
        yield f"is in the network {config.get('NetworkMode')}, not {one.network}"
    wanted = {(f"{port.container}/{port.protocol}", port.address, str(port.host)) for port in one.ports}
    bound = {
        (port, place.get("HostIp") or "0.0.0.0", str(place.get("HostPort")))
        for port, places in (config.get("PortBindings") or {}).items()
        for place in places or []
    }
    for port, address, outside in sorted(bound ^ wanted):
        is_declared = (port, address, outside) in wanted
        yield f"{'does not publish' if is_declared else 'publishes'} {port} at {address}:{outside}" + (
            "" if is_declared else ", which is not declared"
        )


def _mounts(one: Container, there: list[Any]) -> Iterator[str]:
    found = {str(item.get("Destination")): item for item in there}
    for mount in one.mounts:
        item = found.get(mount.target)
        if item is None:
            yield f"has nothing mounted at {mount.target}"
        elif (text := _place(item)) != (wanted := f"{mount.kind} {mount.source}".strip()):
            yield f"has {text} mounted at {mount.target}, not {wanted}"
        elif bool(item.get("RW")) is mount.read_only and mount.kind != "tmpfs":
            yield f"has {mount.target} mounted {'writable' if item.get('RW') else 'read-only'}"
    declared = {mount.target for mount in one.mounts}
    for target in sorted(found.keys() - declared):
        # Volumes without a name are the image's own.
        if found[target].get("Type") == "bind":
            yield f"has {_place(found[target])} mounted at {target}, which is not declared"


def _place(item: Mapping[str, Any]) -> str:
    source = item.get("Name") if item.get("Type") == "volume" else item.get("Source")
    return f"{item.get('Type')} {source or ''}".strip()


def _labels(one: Container, there: Mapping[str, str]) -> Iterator[str]:
    if there.get(docker_cli.SPEC) != one.hash():
        yield (
            "was made from another specification than declared"
            if docker_cli.SPEC in there
            else ("was not made by provision")
        )
    for key, value in one.labels.items():
        if there.get(key) != value:
            yield f"has another label {key} than declared"


def _image(one: Container, item: Mapping[str, Any], images: tuple[dict[str, Any], ...]) -> Iterator[str]:
    image = named(images, one.image_name)
    if image is None:
        yield f"has no image {one.image_name} any more"
    elif item.get("Image") != image.get("Id"):
        yield f"runs another image than {one.image_name} is now"
    elif isinstance(one.image, Image) and one.image.pinned:
        digests = [str(name).rpartition("@")[2] for name in image.get("RepoDigests") or []]
        mark = named(images, one.image.mark)
        known = {image.get("Id"), *digests, *([one.image.pinned] if mark and mark.get("Id") == image.get("Id") else [])}
        if one.image.pinned not in known:
            yield f"runs {one.image_name} with another digest than {one.image.pinned[:19]}"


def _environment(one: Container, item: Mapping[str, Any], images: tuple[dict[str, Any], ...]) -> Iterator[str]:
    there = dict(str(text).partition("=")[::2] for text in item["Config"].get("Env") or [])
    image = named(images, one.image_name) or {}
    own = dict(str(text).partition("=")[::2] for text in (image.get("Config") or {}).get("Env") or [])
    wanted = {name: value.reveal() if isinstance(value, Secret) else value for name, value in one.env.items()}
    # Names only: a value may be a secret.
    if other := [name for name in sorted(wanted) if there.get(name) != wanted[name]]:
        yield f"runs with another {', '.join(other)} than declared"
    if more := sorted(name for name in there.keys() - wanted.keys() if there[name] != own.get(name)):
        yield f"runs with {', '.join(more)}, which is not declared"


def _logs(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    driver, options = wanted.get("log-driver"), wanted.get("log-opts") or {}
    found = there.get("Config") or {}
    if driver and there.get("Type") != driver:
        yield f"logs by {there.get('Type')}, not {driver}: {_OLDER}"
    elif wrong := [f"{key}={value}" for key, value in sorted(options.items()) if found.get(key) != str(value)]:
        yield f"logs without {', '.join(wrong)}: {_OLDER}"


@dataclass(frozen=True)
class Volumes(Check):
    """The declared volumes are there, and so are their folders."""

    volumes: tuple[Volume, ...]
    name = "volumes"
    needs = (ENGINE,)
    early = True

    def question(self) -> str:
        """`there NAME` for each one whose folder is a directory."""
        told = [Told("volume", one.name) for one in self.volumes]
        lines = [
            f'folder=$({one.call} | {_MOUNTPOINT}); [ ! -d "$folder" ] || echo {quote(f"there {one.name}")}'
            for one in told
        ]
        return Asked("\n".join((*lines, "echo end\n")), answers=told)

    def judge(self, answer: Section) -> Verdict:
        """Each of them."""
        if answer.lines[-1:] != ["end"]:
            raise ValueError("docker gave no answer")
        found = {line.removeprefix("there ") for line in answer.lines[:-1]}
        missing = [one.name for one in self.volumes if one.name not in found]
        return Verdict.of([f"missing: {', '.join(missing)}"] if missing else [], ", ".join(sorted(found)))


_MOUNTPOINT = 'sed -n \'s/.*"Mountpoint":"\\([^"]*\\)".*/\\1/p\''
