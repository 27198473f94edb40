"""Which systems a twin can have, and what their images are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def context(name: str, certificates: Mapping[str, bytes], apt: Sequence[str] = ()) -> dict[str, bytes]:
    """The files that an image is built from: name -> content.

    Args:
        name: one of `RECIPES`.
        certificates: CA certificates of this machine, so that the image reaches what it reaches.
        apt: lines of `apt.conf` of this machine, for the same reason.
    """
    # A COPY needs one file at least.
    files = {"certificates/README": b"CA certificates of the machine that made this image\n"}
    files |= {f"certificates/{file}": data for file, data in certificates.items()}
    files["apt.conf"] = "".join(f"{line}\n" for line in apt).encode()
    files["Dockerfile"] = (_FILES / RECIPES[name].dockerfile).read_bytes()
    return files | {file: (_FILES / file).read_bytes() for file in _SHARED}


def tag(name: str, files: Mapping[str, bytes]) -> str:
    """The image's name and tag: a hash of all it is made of."""
    parts = "".join(f"{file} {sha256(data)}\n" for file, data in sorted(files.items()))
    return f"provision-twin/{name}:{sha256(RECIPES[name].base + parts)[:12]}"
