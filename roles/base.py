"""What every server needs: a few packages, the office's CA certificates and proxy, a clock that is right."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from provision.proxy import PROXY_FILE
from provision.resources.base import Resource
from provision.resources.ca import Certificates
from provision.resources.file import Absent, Directory, File
from provision.resources.package import Package
from provision.resources.service import Service
from provision.values import Secret
from provision.view import HostView, OpenPort

# What the other roles use, by family. gpg compares the keys of repositories. Fresh systems of Red Hat's family have the
# small curl, Amazon's the small gpg, too: they refuse the whole ones.
PACKAGES = {
    "debian": ("ca-certificates", "curl", "zstd", "gpg"),
    "redhat": ("ca-certificates", "curl|curl-minimal", "zstd", "gnupg2|gnupg2-minimal", "tar", "gzip"),
    "suse": ("ca-certificates", "curl", "zstd", "gpg2", "tar", "gzip"),
    "arch": ("ca-certificates", "curl", "zstd", "gnupg", "tar", "gzip"),
}
# What keeps the clock: (packages, unit). On Arch it is a part of systemd.
CLOCKS: dict[str, tuple[tuple[str, ...], str]] = {
    "debian": (("systemd-timesyncd",), "systemd-timesyncd"),
    "redhat": (("chrony",), "chronyd"),
    "suse": (("chrony",), "chronyd"),
    "arch": ((), "systemd-timesyncd"),
}
APT_PROXY = "/etc/apt/apt.conf.d/95provision-proxy"
# What stands behind `Proxy::` in apt's configuration is compared with the whole host (apt: methods/http.cc); two colons
# would be two parts of it.
ONE_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Proxy(BaseModel):
    """The way out of the office."""

    model_config = ConfigDict(extra="forbid")

    http: str | Secret | None = Field(None, description="For plain http.", examples=["http://proxy.office.lan:3128"])
    https: str | Secret | None = Field(None, description="For https; the default is that of http.")
    no_proxy: list[str] = Field(
        default=[],
        description="Names, domains and networks that are reached directly. apt knows names and IPv4 addresses only,"
        " each for itself: of `office.lan` it reaches that host, of `.office.lan` and `10.0.0.0/8` none.",
        examples=[["mirror.office.lan", ".office.lan"]],
    )

    @field_validator("http", "https")
    @classmethod
    def _is_address(cls, value: str | Secret | None) -> str | Secret | None:
        if isinstance(value, str):
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{value!r} is not an address such as http://proxy.office.lan:3128")
            if parts.password:
                raise ValueError("a password does not stand in the inventory: write {secret: env:PROXY_URL}")
        return value


class Settings(BaseModel):
    """Settings of `base`."""

    model_config = ConfigDict(extra="forbid")

    packages: list[str] = Field(default=[], description="More packages.", examples=["htop"])
    ca_certificates: list[str] = Field(
        default=[], description="PEM files beside the inventory that every server trusts.", examples=["ca/office.crt"]
    )
    proxy: Proxy | None = Field(None, description="The way out of the office, for packages, Docker and Ollama.")
    open_ports: list[int] = Field(
        default=[],
        description="TCP ports of other programs that may answer others; `verify` fails for any that is not declared.",
        examples=[[9100]],
    )
    time: bool = Field(
        True,
        description="Keep the clock right: with chrony, ntpsec or openntpd where one is there, else with the family's:"
        " systemd-timesyncd or chrony.",
    )


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Proxy first: packages may need it. Then packages, certificates, clock."""
    os = host.identity.os
    variables = proxy_variables(want.proxy) if want.proxy else {}
    if variables:
        yield Directory("/etc/provision", mode="0755")
        yield proxy_file(variables)
    if os.family == "debian":
        yield apt_proxy(variables)
    if not variables:
        yield Absent(PROXY_FILE, "no proxy is declared")
    # Packages of time daemons conflict with each other: the one that is there stays.
    daemon, unit = CLOCKS[os.family]
    keeper = host.identity.time_daemon or unit
    names = (*PACKAGES[os.family], *(daemon if want.time and keeper == unit else ()))
    yield Package((*names, *(name for name in want.packages if name not in names)), host.identity.package_manager)
    for name in want.ca_certificates:
        path = host.find(name)
        if path is None:
            raise ValueError(f"the certificate {name} is neither beside the inventory nor in its templates")
        yield Certificates(path.stem, path.read_text(), os.family)
    if want.time:
        # A container's clock is its machine's: the unit is enabled for the day it is none, and cannot run now.
        runs = None if "container" in host.identity.marks else True
        yield Service(keeper, enabled=True, running=runs)


def apt_proxy(variables: dict[str, str]) -> File | Absent:
    """What apt reads; the other package managers are given the proxy file's variables."""
    if not variables:
        return Absent(APT_PROXY, "no proxy is declared")
    schemes = [(scheme, f"{scheme.upper()}_PROXY") for scheme in ("http", "https")]
    used = {scheme: variables[key] for scheme, key in schemes if key in variables}
    direct = [name for name in variables["NO_PROXY"].split(",") if ONE_HOST.fullmatch(name)]
    lines = [f'Acquire::{scheme}::Proxy "{url}";\n' for scheme, url in used.items()]
    lines += [f'Acquire::{scheme}::Proxy::{name} "DIRECT";\n' for scheme in used for name in direct]
    return File(APT_PROXY, "".join(lines), mode="0600", sensitive=True)


def ports(host: HostView, want: Settings) -> Iterator[OpenPort]:
    """Those of other programs."""
    for port in want.open_ports:
        yield OpenPort(port, None, "base.open_ports says so")


def proxy_file(variables: dict[str, str]) -> File:
    """The file other roles point to."""
    text = "".join(f'{name}="{value}"\n' for name, value in sorted(variables.items()))
    return File(PROXY_FILE, text, mode="0600", sensitive=True)


def proxy_variables(proxy: Proxy) -> dict[str, str]:
    """HTTP_PROXY and the others, with their values. Loopback is always reached directly."""
    http, https = _text(proxy.http), _text(proxy.https or proxy.http)
    values = {"HTTP_PROXY": http, "HTTPS_PROXY": https}
    found = {name: value for name, value in values.items() if value}
    if found:
        found["NO_PROXY"] = ",".join(dict.fromkeys(["localhost", "127.0.0.1", "::1", *proxy.no_proxy]))
    return found


def _text(value: str | Secret | None) -> str:
    return value.reveal() if isinstance(value, Secret) else value or ""
