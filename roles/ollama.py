"""The Ollama server: a pinned release with its digest checked, a hardened unit that keeps the GPUs, who may reach it.

Beside the base archive come the libraries of an AMD GPU (ROCm) or of a Jetson, and Vulkan's drivers for an Intel GPU or
an AMD one that ROCm has no code for. `install.sh` is never run. A host on which it was run is adopted: its models stay,
its unit is replaced, its second binary is removed. The server that runs must be the pinned one, so the role ends by
asking it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from provision import accelerators
from provision.facts.model import Identity
from provision.fields import Network, Visitor
from provision.inventory.names import did_you_mean
from provision.proxy import PROXY_FILE, proxy_mark
from provision.resources.base import Resource
from provision.resources.endpoint import Endpoint
from provision.resources.file import Absent, Directory, File
from provision.resources.firewall import Firewall, Guarded
from provision.resources.host_firewall import Allow, HostFirewall
from provision.resources.models_directory import ModelsDirectory
from provision.resources.nvidia_driver import LOADED
from provision.resources.package import Package
from provision.resources.release import Further, Release
from provision.resources.service import SPEC, Service
from provision.resources.user import Group, User
from provision.values import canonical, sha256
from provision.view import HostView, OpenPort

HOME = "/usr/share/ollama"
MODELS = f"{HOME}/.ollama/models"
UNIT = "/etc/systemd/system/ollama.service"
# Drop-ins count in the order of their names: this one comes after the override.conf of `systemctl edit`.
DROP_IN = "/etc/systemd/system/ollama.service.d/zz-provision.conf"
# The first release without CVE-2026-7482; anyone who reaches an older server can read its memory.
SAFE = (0, 17, 1)

# What the server reads (ollama: envconfig/config.go), and what its libraries read.
VARIABLES = frozenset(
    [
        "OLLAMA_KEEP_ALIVE",
        "OLLAMA_LOAD_TIMEOUT",
        "OLLAMA_NUM_PARALLEL",
        "OLLAMA_MAX_LOADED_MODELS",
        "OLLAMA_MAX_QUEUE",
        "OLLAMA_FLASH_ATTENTION",
        "OLLAMA_KV_CACHE_TYPE",
        "OLLAMA_CONTEXT_LENGTH",
        "OLLAMA_ORIGINS",
        "OLLAMA_GPU_OVERHEAD",
        "OLLAMA_SCHED_SPREAD",
        "OLLAMA_LLM_LIBRARY",
        "OLLAMA_VULKAN",
        "OLLAMA_IGPU_ENABLE",
        "OLLAMA_DEBUG",
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "OLLAMA_NOPRUNE",
        "OLLAMA_REMOTES",
        "OLLAMA_GO_TEMPLATE",
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "OLLAMA_AUTH",
        "LLAMA_ARG_FIT",
        "LLAMA_ARG_FIT_TARGET",
        "NO_PROXY",
        "HTTPS_PROXY",
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "GGML_VK_VISIBLE_DEVICES",
        "HSA_OVERRIDE_GFX_VERSION",
    ]
)
# Names that have a setting of their own.
SETTINGS = {"OLLAMA_HOST": "listen and port", "OLLAMA_MODELS": "models_dir", "OLLAMA_NO_CLOUD": "no_cloud"}
GONE = frozenset(
    [
        "OLLAMA_NEW_ENGINE",
        "OLLAMA_MULTIUSER_CACHE",
        "OLLAMA_INTEL_GPU",
        "OLLAMA_MAX_VRAM",
        "OLLAMA_TMPDIR",
        "OLLAMA_RUNNERS_DIR",
    ]
)


class Settings(BaseModel):
    """Settings of `ollama`."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field("0.32.15", description="The release.", pattern=r"^\d+\.\d+\.\d+(-[A-Za-z0-9.]+)?$")
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]] = Field(
        default={},
        description="Archive name -> SHA-256. Without it the release's sha256sum.txt is used: for an archive in"
        " `artifacts` the one beside it.",
        examples=["{ollama-linux-amd64.tar.zst: 5f1c...}"],
    )
    mirror: str | None = Field(
        None,
        description="Where releases are fetched from, instead of the official place: MIRROR/vVERSION/ARCHIVE.",
        examples=["http://mirror.office.lan/ollama"],
    )
    allow_vulnerable: bool = Field(False, description="Accept a release older than 0.17.1 (CVE-2026-7482).")
    models_dir: str = Field(
        MODELS, description="Where models are kept, on another disk if you like.", pattern=r"""^/[^\s%"'\\]+$"""
    )
    listen: Literal["loopback", "lan"] = Field(
        "loopback", description="Ollama has no authentication: `lan` is guarded by `allow`."
    )
    port: int = Field(11434, ge=1, le=65535, description="TCP port.")
    allow: list[Visitor] = Field(
        default=[], description="With `listen: lan`: the hosts and groups of the inventory that may reach it."
    )
    allow_networks: list[Network] = Field(
        default=[], description="With `listen: lan`: networks that may reach it.", examples=["10.1.0.0/16"]
    )
    no_cloud: bool = Field(True, description="No cloud models and no web search.")
    environment: dict[str, str] = Field(
        default={}, description="Variables of the server.", examples=["{OLLAMA_KEEP_ALIVE: 30m}"]
    )
    rocm: bool | None = Field(
        None,
        description="AMD's libraries (1 GB): by default on hosts with a GPU that they have code for, or with"
        " `HSA_OVERRIDE_GFX_VERSION` among the variables.",
    )
    min_tokens_per_second: float | None = Field(None, gt=0, description="`verify` fails below this speed.")

    @field_validator("environment")
    @classmethod
    def _known_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name in SETTINGS:
                raise ValueError(f"{name} is set by {SETTINGS[name]}")
            if name in GONE:
                raise ValueError(f"Ollama no longer reads {name}")
            if name not in VARIABLES and not name.startswith("HSA_OVERRIDE_GFX_VERSION_"):
                raise ValueError(f"Ollama does not read {name}{did_you_mean(name, VARIABLES)}")
        for name, text in value.items():
            if "\n" in text:
                raise ValueError(f"{name} has more than one line")
        return value

    @property
    def host(self) -> str:
        """OLLAMA_HOST: what the server binds to."""
        return f"{'127.0.0.1' if self.listen == 'loopback' else '0.0.0.0'}:{self.port}"


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """User, release, unit, drop-in, firewall, service; then the server itself is asked."""
    refuse_vulnerable(want)
    groups = tuple(name for name in ("render", "video") if name in host.identity.groups)
    user = User("ollama", home=HOME, groups=groups)
    environment = variables(want)
    numbers = further_groups(host.identity, environment, groups)
    kinds = accelerators.archives(host.identity, environment, want.rocm)
    vulkan = accelerators.vulkan(host.identity, environment)
    archive = source(host, want)
    release = Release(
        "ollama",
        want.version,
        archive=archive,
        sha256=declared_digest(archive, want),
        proxy_file=PROXY_FILE,
        not_in=host.artifacts if isinstance(archive, tuple) else None,
        further=tuple(further(host, want, kind) for kind in kinds),
    )
    unit_text = host.render(
        "ollama/ollama.service.j2",
        models_dir=want.models_dir,
        home=HOME,
        groups=(*groups, *numbers),
        vulkan=bool(vulkan),
        jetson="jetson" in host.identity.marks,
    )
    unit = File(UNIT, unit_text)
    proxy = proxy_mark(host)
    spec = sha256(canonical([unit.content, environment, want.version, release.digest, proxy, *kinds]))[:16]
    text = host.render(
        "ollama/drop-in.conf.j2", environment={**environment, SPEC: spec}, proxy=PROXY_FILE if proxy else ""
    )
    drop_in = File(DROP_IN, text)
    models = ModelsDirectory(want.models_dir, "ollama", "ollama")
    yield user
    yield from nameless(host.identity, numbers)
    yield Directory(HOME, mode="0755", owner="ollama", group="ollama")
    # The server keeps its key there.
    yield Directory(f"{HOME}/.ollama", mode="0755", owner="ollama", group="ollama")
    yield models
    drivers: tuple[Resource, ...] = (Package(vulkan, host.identity.package_manager),) if vulkan else ()
    yield from drivers
    yield release
    for path in ("/usr/bin/ollama", "/usr/local/lib/ollama", "/usr/lib/ollama"):
        yield Absent(path, "left by install.sh; a second Ollama would answer instead", recursive=True)
    yield unit
    yield drop_in
    visitors = sources(host, want)
    if want.listen == "lan":
        yield Package(("nftables",), host.identity.package_manager)
        yield Firewall((Guarded(want.port, visitors),))
    yield HostFirewall("ollama", (Allow(want.port, visitors),) if visitors else ())
    service = Service(
        "ollama",
        enabled=True,
        running=True,
        restart_on=(release, unit, drop_in, models, *drivers),
        spec=spec,
        # The server looks for GPUs when it starts: one that is older than a driver does not know it.
        files=(*([PROXY_FILE] if proxy else []), LOADED, *([accelerators.VULKAN_DRIVERS] if vulkan else [])),
    )
    yield service
    # The first answer may take 30 s: the server looks for GPUs.
    yield Endpoint(
        f"http://127.0.0.1:{want.port}/api/version", expect={"version": want.version}, timeout=90, after=(service,)
    )


def further_groups(identity: Identity, environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers of groups that own the GPUs' device files beside `names`: in a container they are those of its host."""
    if not accelerators.by_device_files(accelerators.computing(identity, environment)):
        return ()
    known = {identity.groups[name] for name in names}
    return tuple(number for number in identity.gpu_groups if number not in known)


def nameless(identity: Identity, numbers: tuple[int, ...]) -> Iterator[Group]:
    """A group for each number that has no other: systemd takes a number only where there is one of it."""
    for number in numbers:
        name = f"gpu{number}"
        if not {there for there, of in identity.groups.items() if of == number} - {name}:
            yield Group(name, number)


def ports(host: HostView, want: Settings) -> Iterator[OpenPort]:
    """The server's."""
    here = "ollama.listen is loopback: anyone there can use it"
    yield OpenPort(want.port, sources(host, want), here if want.listen == "loopback" else "ollama.allow says who may")


def refuse_vulnerable(want: Settings) -> None:
    """Old servers only on purpose.

    Raises:
        ValueError: the version is too old.
    """
    number = tuple(int(part) for part in re.findall(r"\d+", want.version)[:3])
    if number < SAFE and not want.allow_vulnerable:
        raise ValueError(
            f"Ollama {want.version} has CVE-2026-7482, mended in 0.17.1: "
            "take a newer version, or say allow_vulnerable: true"
        )


def variables(want: Settings) -> dict[str, str]:
    """The server's environment."""
    return {
        "OLLAMA_HOST": want.host,
        "OLLAMA_MODELS": want.models_dir,
        **({"OLLAMA_NO_CLOUD": "1"} if want.no_cloud else {}),
        **want.environment,
    }


def archives(arch: str, version: str, kind: str = "") -> tuple[str, ...]:
    """Names of an archive of the release, the likelier first: `.tar.zst` from 0.14.0 on, `.tgz` before.

    `kind` is "" for the base, or `rocm`, `jetpack6`.
    """
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    suffixes = (".tar.zst", ".tgz") if number >= (0, 14, 0) else (".tgz", ".tar.zst")
    return tuple(f"ollama-linux-{arch}{kind and f'-{kind}'}{suffix}" for suffix in suffixes)


def further(host: HostView, want: Settings, kind: str) -> Further:
    """The archive of one kind of GPU."""
    archive = source(host, want, kind)
    return Further(archive, declared_digest(archive, want))


def source(host: HostView, want: Settings, kind: str = "") -> Path | tuple[str, ...]:
    """An archive: in the artefacts' directory, else at the mirror's address, else at the official one."""
    names = archives(host.identity.arch, want.version, kind)
    if host.artifacts is not None and (found := local_archive(host.artifacts, names, want.version)):
        return found
    base = (want.mirror or "https://github.com/ollama/ollama/releases/download").rstrip("/")
    return (f"{base}/v{want.version}/{names[0]}",)


def local_archive(folder: Path, names: tuple[str, ...], version: str) -> Path | None:
    """`vVERSION/NAME`, as a mirror has it, or `ollama-linux-ARCH-VERSION.tgz`."""
    for name in names:
        stem, dot, suffix = name.partition(".")
        for place in (folder / f"v{version}" / name, folder / f"{stem}-{version}{dot}{suffix}"):
            if place.is_file():
                return place
    return None


def declared_digest(archive: Path | tuple[str, ...], want: Settings) -> str:
    """The archive's SHA-256: from the settings, else from the `sha256sum.txt` beside a local archive.

    "" for one that the host fetches: it reads the list of the release.

    Raises:
        ValueError: neither says it of a local archive.
    """
    file = archive.name if isinstance(archive, Path) else archive[0].rpartition("/")[2]
    # A file with its version in its name may be listed by the name that the release gave it.
    names = dict.fromkeys((file, file.replace(f"-{want.version}.", ".")))
    if said := next((want.sha256[name] for name in names if name in want.sha256), ""):
        return said.lower()
    if not isinstance(archive, Path):
        return ""
    sums = archive.with_name("sha256sum.txt")
    listed = digests(sums.read_text(errors="replace")) if sums.is_file() else {}
    if found := next((listed[name] for name in names if name in listed), ""):
        return found
    missing = f"{sums.name} does not list it" if sums.is_file() else f"there is no {sums.name} beside it"
    raise ValueError(
        f"{archive} has no SHA-256 to be compared with: {missing}; put the release's list there, "
        f"or say ollama.sha256: {{{file}: DIGEST}}"
    )


def digests(text: str) -> dict[str, str]:
    """What a `sha256sum.txt` lists, file -> digest; a release's has `./` before its names."""
    lines = (line.partition(" ") for line in text.splitlines())
    return {
        name.strip().removeprefix("*").removeprefix("./"): digest.lower()
        for digest, _, name in lines
        if re.fullmatch("[0-9a-fA-F]{64}", digest)
    }


def sources(host: HostView, want: Settings) -> tuple[str, ...]:
    """Addresses that may reach the port; none on loopback."""
    return host.visitors(want.allow, want.allow_networks) if want.listen == "lan" else ()
