"""Which systems a twin can have, and what their images are made of."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.dataclass import dataclass
from provision.values import sha256

DEFAULT = "debian-13"
_FILES = Path(__file__).parent / "images"
_SHARED = ("setup", "twin-init")


@dataclass(frozen=True)
class Recipe:
    """An image of hosts.

    Args:
        base: the public image it is built from.
        dockerfile: in `images/`, one for each package manager.
        suite: the Debian suite that mmdebstrap makes where no registry can be reached; empty where it cannot.
    """

    base: str
    dockerfile: str
    suite: str = ""


RECIPES: Mapping[str, Recipe] = {
    "debian-12": Recipe("debian:12", "apt.Dockerfile", "bookworm"),
    "debian-13": Recipe("debian:13", "apt.Dockerfile", "trixie"),
    "ubuntu-22.04": Recipe("ubuntu:22.04", "apt.Dockerfile"),
    "ubuntu-24.04": Recipe("ubuntu:24.04", "apt.Dockerfile"),
    "ubuntu-26.04": Recipe("ubuntu:26.04", "apt.Dockerfile"),
    "rocky-9": Recipe("rockylinux/rockylinux:9", "dnf.Dockerfile"),
    "rocky-10": Recipe("rockylinux/rockylinux:10", "dnf.Dockerfile"),
    "almalinux-9": Recipe("almalinux:9", "dnf.Dockerfile"),
    "fedora": Recipe("fedora:latest", "dnf.Dockerfile"),
    "opensuse-leap": Recipe("opensuse/leap:15", "zypper.Dockerfile"),
    "arch": Recipe("archlinux:latest", "pacman.Dockerfile"),
}


DOCKERFILES: Mapping[str, str] = {
    "debian": "apt.Dockerfile",
    "redhat": "dnf.Dockerfile",
    "suse": "zypper.Dockerfile",
    "arch": "pacman.Dockerfile",
}
"""By family of the system that another image has."""


def is_reference(name: str) -> bool:
    """Whether it names an image of a registry, or of this machine's engine: `ubuntu:24.04`, `mirror.lan/rocky/9`."""
    return (
        name not in RECIPES
        and re.fullmatch(r"[a-z0-9][\w./@-]*(:[\w./:@-]+)?", name) is not None
        and (":" in name or "/" in name)
    )


def context(recipe: Recipe, certificates: Mapping[str, bytes], apt: Sequence[str] = ()) -> dict[str, bytes]:
    """The files that an image is built from: name -> content.

    Args:
        recipe: of the image.
        certificates: CA certificates of this machine, so that the image reaches what it reaches.
        apt: lines of `apt.conf` of this machine, for the same reason.
    """
    # A COPY needs one file at least.
    files = {"certificates/README": b"CA certificates of the machine that made this image\n"}
    files |= {f"certificates/{file}": data for file, data in certificates.items()}
    files["apt.conf"] = "".join(f"{line}\n" for line in apt).encode()
    files["Dockerfile"] = (_FILES / recipe.dockerfile).read_bytes()
    return files | {file: (_FILES / file).read_bytes() for file in _SHARED}


def tag(name: str, recipe: Recipe, files: Mapping[str, bytes]) -> str:
    """The image's name and tag: a hash of all it is made of."""
    parts = "".join(f"{file} {sha256(data)}\n" for file, data in sorted(files.items()))
    return f"provision-twin/{re.sub('[^a-z0-9.]+', '-', name.lower())}:{sha256(recipe.base + parts)[:12]}"
