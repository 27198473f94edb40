"""Which checks a host has: those that follow from what is declared for it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from provision import accelerators
from provision.backends import HOST_OF_BRIDGE
from provision.engine.plan import Declared
from provision.inventory.fleet import Host
from provision.resources.base import Resource
from provision.resources.cdi import DockerGpus
from provision.resources.container import Container
from provision.resources.derived_model import DerivedModel
from provision.resources.docker_config import DockerConfig, merge
from provision.resources.file import Directory, File
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.resources.open_webui import SecretKey, StoredSettings
from provision.resources.package import Package
from provision.resources.release import Release
from provision.resources.service import Service
from provision.resources.user import Group, User
from provision.resources.volume import Volume
from provision.roles import load_role
from provision.values import Secret
from provision.verify.check import Check
from provision.verify.checks import open_webui
from provision.verify.checks.devices import Devices
from provision.verify.checks.docker import Containers, ContainerSettings, DockerDaemon, Volumes
from provision.verify.checks.generation import Generation
from provision.verify.checks.ollama import Derived, Libraries, Models, NoCloud, OneOllama, Version
from provision.verify.checks.secrets import ContainerSecrets, Secrets
from provision.verify.checks.services import ServiceRuns, declared_variables
from provision.verify.checks.system import Files, Packages, Users
from provision.view import HostView


def checks_of(host: Host, declared: Declared, view: HostView, inventory: Path) -> list[Check]:
    """The checks of one host, those that others need first. A kind of which nothing is declared has none.

    Args:
        host: with its secrets.
        declared: its resources.
        view: the host as roles see it.
        inventory: where the fleet's own roles are found.
    """
    roles = declared.roles or host.roles
    found = [*_system(declared.resources), *_secrets(host, declared.resources)]
    if "ollama" in roles:
        found += _ollama(host.settings["ollama"], declared.resources, view)
    found += _docker(declared.resources)
    if "open_webui" in roles:
        found += _open_webui(declared.resources, view, load_role("open_webui", inventory))
    return found


def _system(resources: Sequence[Resource]) -> Iterator[Check]:
    packages = [one for one in resources if isinstance(one, Package)]
    files = tuple(one for one in resources if isinstance(one, File | Directory))
    users = tuple(one for one in resources if isinstance(one, User))
    groups = tuple(one for one in resources if isinstance(one, Group))
    if packages:
        yield Packages(tuple(dict.fromkeys(name for one in packages for name in one.names)), packages[0].manager)
    if files:
        yield Files(files)
    if users or groups:
        yield Users(users, groups)
    services = [one for one in resources if isinstance(one, Service)]
    for unit in dict.fromkeys(one.unit for one in services):
        variables = declared_variables(unit, (one for one in files if isinstance(one, File)))
        yield ServiceRuns(unit, tuple(one for one in services if one.unit == unit), variables)


def _secrets(host: Host, resources: Sequence[Resource]) -> Iterator[Check]:
    paths = tuple(
        one.path for one in resources if isinstance(one, SecretKey) or (isinstance(one, File) and one.sensitive)
    )
    values = tuple(dict.fromkeys(secret.reveal() for secret in secrets_in(host.settings)))
    if paths or values:
        yield Secrets(paths, values)
    if values and any(isinstance(one, DockerConfig | Container) for one in resources):
        yield ContainerSecrets(values)


def secrets_in(value: object) -> Iterator[Secret]:
    """All secrets in settings, however deep."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, BaseModel):
        for _, inner in value:
            yield from secrets_in(inner)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from secrets_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner)


def _ollama(settings: Any, resources: Sequence[Resource], view: HostView) -> Iterator[Check]:
    server = Server(settings.port, settings.models_dir)
    models = tuple(one for one in resources if isinstance(one, OllamaModel | DerivedModel))
    derived = tuple(one for one in models if isinstance(one, DerivedModel))
    program = next((one.target for one in resources if isinstance(one, Release) and one.name == "ollama"), "")
    yield Version(settings.version, server, program)
    yield OneOllama()
    beginnings = accelerators.libraries(view.identity, settings.environment, settings.rocm)
    if program and beginnings:
        yield Libraries(program.removesuffix("bin/ollama") + "lib/ollama", beginnings)
    gpus = accelerators.computing(view.identity, settings.environment, settings.rocm)
    if by := accelerators.by_device_files(gpus):
        yield Devices(by)
    if settings.no_cloud:
        yield NoCloud(server)
    if models:
        yield Models(models, server)
    if derived:
        yield Derived(derived, server)
    for one in models:
        yield Generation(one.name, server, gpus, settings.min_tokens_per_second)


def _docker(resources: Sequence[Resource]) -> Iterator[Check]:
    keys: dict[str, Any] = {}
    for one in resources:
        if isinstance(one, DockerConfig):
            keys = merge(keys, one.wanted)
    containers = tuple(one for one in resources if isinstance(one, Container))
    volumes = tuple(one for one in resources if isinstance(one, Volume))
    if keys:
        yield DockerDaemon(keys, any(isinstance(one, DockerGpus) for one in resources))
    if containers:
        yield Containers(tuple(one.name for one in containers))
        yield ContainerSettings(containers, {key: keys[key] for key in ("log-driver", "log-opts") if key in keys})
    if volumes:
        yield Volumes(volumes)


def _open_webui(resources: Sequence[Resource], view: HostView, role: Any) -> Iterator[Check]:
    """In this order: those that go on with the admin's token come after the one that fetches it."""
    want = view.settings["open_webui"]
    url = role.outside(want)
    backends = role.backends_of(view, want)
    urls = tuple(backend.url for backend in backends)
    settings = next(one for one in resources if isinstance(one, StoredSettings))
    yield open_webui.Ready(url)
    yield open_webui.Backends(settings.instance, urls, any(map(_is_local, urls)))
    yield open_webui.Closed(url, want.signup)
    yield open_webui.SignIn(settings.instance)
    yield open_webui.Settings(settings)
    declared = _chatting(role.models_of(view, want), want.embedding)
    each = tuple((backend.url, _chatting(backend.models, want.embedding)) for backend in backends)
    yield open_webui.Chat(settings.instance, declared, each)


def _chatting(models: Sequence[str], embedding: str | None) -> tuple[str, ...]:
    """All models but the one that only makes embeddings."""
    return tuple(name for name in models if embedding is None or open_webui.key(name) != open_webui.key(embedding))


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", HOST_OF_BRIDGE)
