"""Which checks a host has: those that follow from what is declared for it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from provision.engine.plan import Declared
from provision.inventory.fleet import Host
from provision.resources.base import Resource
from provision.resources.container import Container
from provision.resources.derived_model import DerivedModel
from provision.resources.docker_config import DockerConfig
from provision.resources.file import Directory, File
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.resources.package import Package
from provision.resources.service import Service
from provision.roles import load_role
from provision.values import Secret
from provision.verify.check import Check
from provision.verify.checks import open_webui
from provision.verify.checks.docker import Containers, DockerDaemon
from provision.verify.checks.ollama import Generation, Models, NoCloud, OneOllama, Version
from provision.verify.checks.system import Files, Packages, Secrets, Services
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
        found += _open_webui(view, load_role("open_webui", inventory))
    return found


def _system(resources: Iterable[Resource]) -> Iterator[Check]:
    packages = tuple(name for one in resources if isinstance(one, Package) for name in one.names)
    files = tuple(one for one in resources if isinstance(one, File | Directory))
    services = tuple(one for one in resources if isinstance(one, Service))
    if packages:
        yield Packages(tuple(dict.fromkeys(packages)))
    if files:
        yield Files(files)
    if services:
        yield Services(services)


def _secrets(host: Host, resources: Iterable[Resource]) -> Iterator[Check]:
    paths = tuple(one.path for one in resources if isinstance(one, File) and one.sensitive)
    values = tuple(dict.fromkeys(secret.reveal() for secret in secrets_in(host.settings)))
    if paths or values:
        yield Secrets(paths, values)


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


def _ollama(settings: Any, resources: Iterable[Resource], view: HostView) -> Iterator[Check]:
    server = Server(settings.port, settings.models_dir)
    models = tuple(one.name for one in resources if isinstance(one, OllamaModel | DerivedModel))
    yield Version(settings.version, server)
    yield OneOllama()
    if settings.no_cloud:
        yield NoCloud(server)
    if models:
        yield Models(models, server)
    for name in models:
        yield Generation(name, server, view.identity.nvidia_usable, settings.min_tokens_per_second)


def _docker(resources: Iterable[Resource]) -> Iterator[Check]:
    keys = {key: value for one in resources if isinstance(one, DockerConfig) for key, value in one.wanted.items()}
    containers = tuple(one for one in resources if isinstance(one, Container))
    if keys:
        yield DockerDaemon(keys)
    if containers:
        yield Containers(containers)


def _open_webui(view: HostView, role: Any) -> Iterator[Check]:
    want = view.settings["open_webui"]
    url = role.outside(want)
    models = tuple(name for name in role.models_of(view, want) if name.partition(":")[0] != want.embedding)
    yield open_webui.Ready(url)
    yield open_webui.Closed(url, want.signup)
    yield open_webui.Chat(url, want.admin.email.lower(), want.admin.password, models)
