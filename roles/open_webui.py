"""Open WebUI in a container: the admin's account before the port, its backends, declared settings in its database."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from provision import backends
from provision.backends import HOST_OF_BRIDGE, Backend
from provision.fields import GroupName, HostOrGroup, Network, Visitor
from provision.resources.base import Resource
from provision.resources.container import Health, Mount, Port
from provision.resources.endpoint import Endpoint
from provision.resources.file import Directory, File
from provision.resources.firewall import Firewall, Guarded
from provision.resources.host_firewall import DOCKER0, Allow, HostFirewall
from provision.resources.image import Image
from provision.resources.open_webui import (
    DATA,
    ENGINE,
    MOUNT,
    Admin,
    DataGuard,
    Instance,
    ModelAccess,
    Proof,
    SecretKey,
    Server,
    StoredSettings,
    environment_mistake,
    has_secret,
    setting_mistake,
)
from provision.resources.package import Package
from provision.resources.selinux import SelinuxLabel
from provision.resources.volume import Volume
from provision.values import Secret, canonical, parse_bytes, quote
from provision.view import HostView, OpenPort

HOME = "/etc/provision/open-webui"
"""Secrets and start scripts on the host, 0700; mounted read-only."""
INSIDE = 8080
"""The port in the container when it has a network of its own."""
EVERYONE = "everyone"


def _environment_name(name: str) -> str:
    if mistake := environment_mistake(name):
        raise ValueError(mistake)
    return name


def _setting_key(key: str) -> str:
    owned = {"ui.enable_signup": "signup", "ollama.base_urls": "backends"}
    if key in owned:
        raise ValueError(f"{key} is set by this role: write open_webui.{owned[key]}")
    if mistake := setting_mistake(key):
        raise ValueError(mistake)
    return key


def _size(text: str) -> str:
    parse_bytes(text)
    return text


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or text.endswith("/"):
        raise ValueError(f"{text!r} is not a URL such as http://gpu01:11434 (no slash at its end)")
    return text


# JSON with secrets in it, as deep as stored settings are.
_Leaf = Secret | Any
_Inner = Secret | dict[str, _Leaf] | list[_Leaf] | Any
_Value = Secret | dict[str, _Inner] | list[_Inner] | Any


class Backends(BaseModel):
    """Servers of Ollama. Those of a group come first, then hosts, then URLs; nothing: the Ollama of the same host."""

    model_config = ConfigDict(extra="forbid")

    group: GroupName | None = Field(default=None, description="every host of this group")
    hosts: list[HostOrGroup] = Field(default_factory=list, description="these hosts")
    urls: list[Annotated[str, AfterValidator(_url)]] = Field(
        default_factory=list, description="servers outside the inventory"
    )


class AdminAccount(BaseModel):
    """The administrator; the account exists before anybody can reach the port."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", description="to sign in with")
    name: str = Field(default="Admin", min_length=1)
    password: Secret = Field(description="at most 72 bytes; a change in the interface is reverted")


class Settings(BaseModel):
    """What can be set under `open_webui`."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(
        default="ghcr.io/open-webui/open-webui:v0.12.4",
        pattern=r"^[a-z0-9][\w./:-]*:[\w.-]+$",
        description="with a tag; a `-slim` one has no retrieval from files",
    )
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$", description="of the image's manifest")
    archive: str | None = Field(
        default=None,
        description="made by `docker save`, in `artifacts` or beside the inventory; by default open-webui-TAG.tar,"
        " .tar.gz or .tar.zst in `artifacts` where there is one",
    )
    network: Literal["host", "bridge"] = Field(
        default="host", description="`bridge` needs an Ollama of the same host to listen on more than loopback"
    )
    listen: str = Field(default="0.0.0.0", description="address of the host, `127.0.0.1` behind a proxy")
    port: int = Field(default=8080, ge=1, le=65535)
    allow: list[Visitor] = Field(
        default_factory=list,
        description="the hosts and groups of the inventory that may reach it; with `allow_networks` empty too: all",
    )
    allow_networks: list[Network] = Field(
        default_factory=list, description="networks that may reach it.", examples=["10.1.0.0/16"]
    )
    volume: str = Field(
        default="open-webui",
        pattern=r"^(/.+|[a-zA-Z0-9][a-zA-Z0-9_.-]+)$",
        description="a Docker volume, or a folder of the host",
    )
    allow_empty: bool = Field(default=False, description="start anew although another volume holds data")
    backends: Backends = Field(default_factory=Backends)
    admin: AdminAccount
    signup: bool = Field(default=False, description="whether strangers can make accounts")
    models_for: str = Field(default=EVERYONE, min_length=1, description="`everyone`, or a group of its users")
    name: str | None = Field(default=None, description="shown beside `Open WebUI`")
    embedding: str | None = Field(default=None, description="a model of the backends, for retrieval from files")
    offline: bool | None = Field(default=None, description="no calls to the internet; true where `artifacts` is set")
    environment: dict[Annotated[str, AfterValidator(_environment_name)], str | Secret] = Field(
        default_factory=dict, description="variables that are read at every start"
    )
    settings: dict[Annotated[str, AfterValidator(_setting_key)], _Value] = Field(
        default_factory=dict, description="stored settings by key; mappings are merged"
    )
    memory: Annotated[str, AfterValidator(_size)] | None = Field(default=None, description="limit, such as 4GiB")

    @model_validator(mode="after")
    def _reachable(self) -> "Settings":
        if self.network == "bridge":
            for url in self.backends.urls:
                if "//127." in url or "//localhost" in url:
                    raise ValueError(
                        f"backends: {url} is the container itself with network: bridge; write {HOST_OF_BRIDGE}"
                    )
        return self


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Secrets and start scripts, image, volume, container; then account, settings, access and a proof."""
    servers = backends_of(host, want)
    urls = tuple(server.url for server in servers)
    instance = instance_of(want, urls)
    image = Image(want.image, digest=want.digest, archive=archive(host, want))
    key = SecretKey(f"{HOME}/secret_key", instance.container)
    password = File(f"{HOME}/admin_password", content=want.admin.password.reveal(), mode="0600", sensitive=True)
    environment = environment_file(want)
    scripts = [
        File(f"{HOME}/{name}", content=host.render(f"open_webui/{name}"), mode="0600")
        for name in ("start.sh", "first_start.py")
    ]
    yield Directory(HOME, mode="0700")
    yield key
    yield from (password, environment, *scripts)
    yield image
    if "selinux" in host.identity.marks:
        yield SelinuxLabel(HOME, after=(key, password, environment, *scripts))
    if not want.volume.startswith("/"):
        yield Volume(want.volume)
    elif "selinux" in host.identity.marks:
        yield SelinuxLabel(want.volume)
    if not want.allow_empty:
        yield DataGuard(want.volume)
    server = Server(
        name=instance.container,
        image=image,
        env=environment_of(host, want),
        mounts=(
            Mount(DATA, want.volume, "bind" if want.volume.startswith("/") else "volume"),
            Mount(MOUNT, HOME, "bind", read_only=True),
        ),
        command=("bash", f"{MOUNT}/start.sh"),
        # The command reads these files at its start only: another content is another container.
        labels={"provision.files": digest([environment, *scripts])},
        health=Health(f"curl -sf --noproxy '*' -m 5 {quote(instance.url)}/health", interval=10, start_period=300),
        memory=parse_bytes(want.memory or "0"),
        wait=600,
        **network_of(want),
    )
    visitors = sources(host, want)
    if visitors is not None:
        yield Package(("nftables",), host.identity.package_manager)
    yield Firewall(() if visitors is None else (Guarded(want.port, visitors),), part="open-webui")
    yield HostFirewall("open-webui", tuple(let_in(host, want)))
    yield server
    ready = Endpoint(f"{outside(want)}/ready", expect={"status": True}, timeout=300, after=(server,))
    yield ready
    admin = Admin(instance, password)
    settings = StoredSettings(instance, settings_of(want, urls))
    yield admin
    yield settings
    if instance.group:
        yield ModelAccess(instance, models_of(host, want))
    names = {server.url: server.host for server in servers if server.host}
    yield Proof(instance, urls, names, after=(server, admin, settings))


def instance_of(want: Settings, urls: tuple[str, ...]) -> Instance:
    """Where the server is, and what is asked of its database."""
    values = settings_of(want, urls)
    return Instance(
        container="open-webui",
        url=outside(want) if want.network == "host" else f"http://127.0.0.1:{INSIDE}",
        home=HOME,
        email=want.admin.email.lower(),
        name=want.admin.name,
        keys=tuple(sorted({ENGINE, *(key for key, value in values.items() if not has_secret(value))})),
        hashed=tuple(sorted(key for key, value in values.items() if has_secret(value))),
        group="" if want.models_for == EVERYONE else want.models_for,
    )


def ports(host: HostView, want: Settings) -> Iterator[OpenPort]:
    """The server's."""
    here = want.listen == "localhost" or want.listen.startswith("127.") or want.listen == "::1"
    visitors = sources(host, want)
    if here or visitors is None:
        yield OpenPort(want.port, () if here else None, f"open_webui.listen is {want.listen}")
    else:
        yield OpenPort(want.port, visitors, "open_webui.allow says who may")


def sources(host: HostView, want: Settings) -> tuple[str, ...] | None:
    """Addresses that may reach the port; None: all."""
    if not want.allow and not want.allow_networks:
        return None
    return host.visitors(want.allow, want.allow_networks)


def let_in(host: HostView, want: Settings) -> Iterator[Allow]:
    """What a firewall of the host must let pass. Docker publishes ports past it; a server in the host's network is not.

    A container of the default bridge that uses the Ollama of its own host comes in at the bridge.
    """
    if want.network == "host":
        yield from (Allow(port.port, port.sources) for port in ports(host, want) if port.sources != ())
    elif any(f"//{HOST_OF_BRIDGE}:" in backend.url for backend in backends_of(host, want)):
        yield Allow(backends.port(host.settings), None, DOCKER0)


def outside(want: Settings) -> str:
    """The URL as the host sees it."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(want.listen, want.listen)
    return f"http://{f'[{address}]' if ':' in address else address}:{want.port}"


def network_of(want: Settings) -> dict[str, Any]:
    """Arguments of the container for its network."""
    if want.network == "host":
        return {"network": "host"}
    return {
        "network": "bridge",
        "ports": (Port(INSIDE, want.port, want.listen),),
        "extra_hosts": {HOST_OF_BRIDGE: "host-gateway"},
    }


def environment_of(host: HostView, want: Settings) -> dict[str, str]:
    """The container's environment. What is stored in the database only seeds it at the first start."""
    offline = host.artifacts is not None if want.offline is None else want.offline
    own = {
        "WEBUI_ADMIN_EMAIL": want.admin.email.lower(),
        "WEBUI_ADMIN_NAME": want.admin.name,
        # Without it a database that is seeded again has sign-up open.
        "ENABLE_SIGNUP": "false",
        "ENABLE_OPENAI_API": "false",
        "BYPASS_MODEL_ACCESS_CONTROL": "true" if want.models_for == EVERYONE else "false",
        "OFFLINE_MODE": "true" if offline else "false",
        "PORT": str(want.port if want.network == "host" else INSIDE),
        "HOST": want.listen if want.network == "host" else "0.0.0.0",
    }
    if want.name:
        own["WEBUI_NAME"] = want.name
    if want.embedding:
        # Else the first start looks for a model at the internet's hub.
        own |= {"RAG_EMBEDDING_ENGINE": "ollama", "RAG_EMBEDDING_MODEL": want.embedding}
    return {**{name: value for name, value in want.environment.items() if isinstance(value, str)}, **own}


def environment_file(want: Settings) -> File:
    """Variables with secret values, as a script that exports them. Always there: start.sh reads it."""
    secret = {name: value for name, value in want.environment.items() if isinstance(value, Secret)}
    lines = (f"export {name}={quote(value.reveal())}\n" for name, value in sorted(secret.items()))
    return File(f"{HOME}/environment", content="".join(lines), mode="0600", sensitive=bool(secret))


def digest(files: list[File]) -> str:
    """Of their contents. Slow on purpose: it stands in a label, and a short secret must not be guessed from it."""
    contents = canonical([str(file.content) for file in files])
    return hashlib.scrypt(contents.encode(), salt=b"provision", n=4096, r=8, p=1, dklen=16).hex()


def settings_of(want: Settings, urls: tuple[str, ...]) -> dict[str, Any]:
    """Stored settings: the declared ones over those that follow from the rest."""
    values: dict[str, Any] = {
        "ui.enable_signup": want.signup,
        "ollama.enable": True,
        "ollama.base_urls": list(urls),
        "openai.enable": False,
        # Its own default is localhost, whatever the backends are.
        "rag.ollama.base_url": urls[0],
    }
    if want.embedding:
        values |= {"rag.embedding_engine": "ollama", "rag.embedding_model": want.embedding}
    return values | want.settings


def archive(host: HostView, want: Settings) -> Path | None:
    """The local archive of the image: the declared one, or one by the usual name."""
    if want.archive:
        here = host.artifacts / want.archive if host.artifacts else None
        found = here if here and here.is_file() else host.find(want.archive)
        if found is None:
            raise ValueError(f"archive: no file {want.archive} in {host.artifacts or 'artifacts (not set)'}")
        return found
    if host.artifacts is None:
        return None
    name = f"open-webui-{want.image.rpartition(':')[2]}.tar"
    paths = (host.artifacts / f"{name}{suffix}" for suffix in ("", ".zst", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def backends_of(host: HostView, want: Settings) -> tuple[Backend, ...]:
    """The backends in order, each once.

    Raises:
        ValueError: there are none, or one listens where this host cannot reach it.
    """
    chosen = want.backends
    names = (*([chosen.group] if chosen.group else []), *chosen.hosts)
    return backends.used(host, names, chosen.urls, bridge=want.network == "bridge")


def models_of(host: HostView, want: Settings) -> tuple[str, ...]:
    """Names of the models that the backends' hosts declare; where none is of the inventory, those of this host."""
    return backends.models(host, backends_of(host, want))
