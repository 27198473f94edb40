"""Which hosts can be served. Asked before anything on a host is touched."""

import re
from collections.abc import Callable

from provision.facts.model import Identity

_ENTERPRISE = ("9", "10")
# By id: versions, or their parts before the first dot. None: any, a rolling release.
_SUPPORTED: dict[str, tuple[str, ...] | None] = {
    "debian": ("12", "13"),
    "ubuntu": ("22.04", "24.04", "26.04"),
    "rhel": _ENTERPRISE,
    "centos": _ENTERPRISE,
    "rocky": _ENTERPRISE,
    "almalinux": _ENTERPRISE,
    "ol": _ENTERPRISE,
    "amzn": ("2023",),
    "opensuse-leap": ("15.6", "16"),
    "sles": ("15",),
    "arch": None,
    "archarm": None,
}
_FEDORA = 41
"""The oldest; every later one has dnf 5, too."""
_KERNEL = (4, 18)
"""Of Red Hat's version 8, on which Ollama's releases are built (with glibc 2.28). Older ones are met in containers."""
_SLES = (15, 3)
"""The first with a glibc that is new enough."""
_NAMES = (
    "Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04, RHEL, CentOS Stream, Rocky, Alma and Oracle Linux 9 and 10, "
    "Fedora from 41, Amazon Linux 2023, openSUSE Leap 15.6 and 16, SLES 15, Arch Linux"
)
_IMMUTABLE = (
    "coreos",
    "silverblue",
    "kinoite",
    "sericea",
    "onyx",
    "iot",
    "atomic",
    "opensuse-microos",
    "sle-micro",
    "sl-micro",
)
_32_BIT = ("i386", "i686", "armhf", "armel", "armv6l", "armv7l")


def refusal(identity: Identity) -> str | None:
    """Why this host cannot be served and the nearest way out, as one line; None when it can."""
    return next((said for check in _CHECKS if (said := check(identity))), None)


def _declarative(identity: Identity) -> str | None:
    if "nixos" in identity.marks or identity.os.id == "nixos":
        return "NixOS is configured by its own modules; use services.ollama and services.open-webui there"
    return None


def _musl(identity: Identity) -> str | None:
    if identity.marks & {"alpine", "musl"} or identity.os.id == "alpine":
        return f"{identity.os.name} uses musl, Ollama needs glibc; run Ollama's container image there, or use {_NAMES}"
    return None


def _immutable(identity: Identity) -> str | None:
    os = identity.os
    if "ostree" in identity.marks or os.variant in _IMMUTABLE or os.id in _IMMUTABLE:
        return (
            f"{os.name} has a read-only base system (ostree or transactional); use its family's ordinary server edition"
        )
    return None


def _wsl1(identity: Identity) -> str | None:
    if "wsl1" in identity.marks:
        return "WSL 1 has no Linux kernel; convert it: wsl --set-version <distribution> 2"
    return None


def _narrow(identity: Identity) -> str | None:
    arch = identity.arch
    if arch in _32_BIT:
        return f"its userland is 32-bit ({arch}), Ollama exists for amd64 and arm64 only; install the 64-bit edition"
    if arch not in ("amd64", "arm64"):
        return f"its architecture is {arch or 'not known'}, Ollama exists for amd64 and arm64 only"
    return None


def _no_systemd(identity: Identity) -> str | None:
    if identity.init == "systemd":
        return None
    if "wsl" in identity.marks:
        return "WSL runs without systemd; put [boot] systemd=true into /etc/wsl.conf, then wsl --shutdown"
    if "container" in identity.marks:
        return "a container without systemd; use one that has it as PID 1, or a virtual machine"
    return f"its init is {identity.init or 'not known'}, services are run by systemd here; use {_NAMES}"


def _unknown(identity: Identity) -> str | None:
    os = identity.os
    versions = _SUPPORTED.get(os.id, ())
    if versions is None or os.version in versions or os.major in versions:
        return None
    if os.id == "fedora" and os.major.isdecimal() and int(os.major) >= _FEDORA:
        return None
    if os.id in _SUPPORTED or os.id == "fedora":
        return f"{os.name} is not supported; supported are {_NAMES}"
    return f"{os.name} is not supported yet; supported are {_NAMES}"


def _old_libraries(identity: Identity) -> str | None:
    os = identity.os
    if os.id == "sles" and _numbers(f"{os.version}.0") < _SLES:
        return f"{os.name} has a glibc older than 2.28, which Ollama needs; upgrade it to SP3 or later"
    return None


def _old_kernel(identity: Identity) -> str | None:
    kernel = _numbers(identity.kernel)
    if not kernel or kernel >= _KERNEL:
        return None
    way = "it is its machine's: use a newer one" if "container" in identity.marks else "upgrade it and reboot"
    return f"its kernel is {identity.kernel}, older than {_KERNEL[0]}.{_KERNEL[1]}, which Ollama is built on; {way}"


def _numbers(version: str) -> tuple[int, ...]:
    """(15, 7) of `15.7`, (4, 4) of `4.4.0-19041`; () where there is no number."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return (int(found[1]), int(found[2])) if found else ()


def _no_manager(identity: Identity) -> str | None:
    family, found = identity.os.family, identity.package_manager
    if found not in _MANAGERS[family]:
        return f"it has no {_MANAGERS[family][0]}, with which {identity.os.name} installs packages; install it there"
    return None


_MANAGERS = {"debian": ("apt",), "redhat": ("dnf", "dnf5"), "suse": ("zypper",), "arch": ("pacman",)}
_CHECKS: tuple[Callable[[Identity], str | None], ...] = (
    _declarative,
    _musl,
    _immutable,
    _wsl1,
    _narrow,
    _no_systemd,
    _unknown,
    _old_libraries,
    _old_kernel,
    _no_manager,
)
