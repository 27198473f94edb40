"""NVIDIA's container toolkit as a signed repository of empty packages, for hosts that have no internet."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
# What the real one says where there is no driver (facts.md 2.4).
_NVIDIA_CTK = "#!/bin/sh\necho 'failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND' >&2\nexit 1\n"


@dataclass(frozen=True)
class Toolkit:
    """A flat repository.

    Args:
        files: name -> content.
        key: file of the key that signs it.
        fingerprint: of the key.
    """

    files: Mapping[str, bytes]
    key: Path
    fingerprint: str


def toolkit(folder: Path) -> Toolkit:
    """Make it. `folder` is empty, its name short: gpg's agent has a socket there."""
    home, place = folder / "gnupg", folder / "repository"
    home.mkdir(mode=0o700)
    place.mkdir()
    for name in PACKAGES:
        _package(folder / name, name)
        _run(folder, "dpkg-deb", "--root-owner-group", "--build", name, str(place))
    (place / "Packages").write_bytes(_run(place, "apt-ftparchive", "packages", "."))
    (place / "Release").write_bytes(_run(place, "apt-ftparchive", "release", "."))
    gpg = ("gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback")
    try:
        _run(folder, *gpg, "--quick-generate-key", "toolkit", "ed25519", "sign", "never")
        _run(place, *gpg, "--clearsign", "--output", "InRelease", "Release")
        key = folder / "toolkit.asc"
        key.write_bytes(_run(folder, *gpg, "--armor", "--export"))
        listed = _run(folder, *gpg, "--list-keys", "--with-colons").decode()
    finally:
        _run(folder, "gpgconf", "--homedir", str(home), "--kill", "all")
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    return Toolkit({file.name: file.read_bytes() for file in place.iterdir()}, key, fingerprint)


def _package(tree: Path, name: str) -> None:
    (tree / "DEBIAN").mkdir(parents=True)
    fields = {"Package": name, "Version": "1.20.0-1", "Architecture": "all", "Maintainer": "lab", "Description": name}
    (tree / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    if name == "nvidia-container-toolkit-base":
        program = tree / "usr" / "bin" / "nvidia-ctk"
        program.parent.mkdir(parents=True)
        program.write_text(_NVIDIA_CTK)
        program.chmod(0o755)


def _run(folder: Path, *command: str) -> bytes:
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
