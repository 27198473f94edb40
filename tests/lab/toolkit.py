"""NVIDIA's container toolkit as a signed repository of empty packages, for hosts that have no internet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import run
from tests.lab.packages import sign

PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
# What the real one says where there is no driver (facts.md 2.4).
_NVIDIA_CTK = "#!/bin/sh\necho 'failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND' >&2\nexit 1\n"
# It too hands everything to runc.
_RUNTIME = '#!/bin/sh\nexec runc "$@"\n'
_PROGRAMS = {"nvidia-container-toolkit-base": {"nvidia-ctk": _NVIDIA_CTK, "nvidia-container-runtime": _RUNTIME}}


@dataclass(frozen=True)
class Toolkit:
    """A flat repository.

    Args:
        files: path -> content, for `Mirror.files`.
        key: file of the key that signs it.
        fingerprint: of the key.
    """

    files: Mapping[str, bytes]
    key: Path
    fingerprint: str

    def settings(self, mirror: str) -> dict[str, str]:
        """Of the role `nvidia`, for a mirror at this address that serves the files."""
        return {"repository": f"{mirror}/deb", "key": str(self.key), "fingerprint": self.fingerprint}


def toolkit(folder: Path, version: str = "1.20.0-1") -> Toolkit:
    """Make it in an empty folder."""
    place = folder / "repository"
    place.mkdir()
    for name in PACKAGES:
        _package(folder / name, name, version)
        run(("dpkg-deb", "--root-owner-group", "--build", folder / name, place), what=name)
    sign(place)
    # apt asks a flat repository for `./NAME`, too.
    files = {f"/deb/amd64/{dot}{file.name}": file.read_bytes() for file in place.iterdir() for dot in ("", "./")}
    return Toolkit(files, place / "gpg", (place / "fingerprint").read_text())


def _package(tree: Path, name: str, version: str) -> None:
    (tree / "DEBIAN").mkdir(parents=True)
    fields = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "lab", "Description": name}
    (tree / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    for file, text in _PROGRAMS.get(name, {}).items():
        program = tree / "usr" / "bin" / file
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
