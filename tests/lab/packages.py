"""Signed package repositories of our own, with stand-ins for the packages of vendors whose servers are not reached."""

import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import images
from tests.lab.cache import made, recipe_hash, run
from tests.lab.machine import client

# The relations of Docker's own packages (docker/docker-ce-packaging: deb/common/control; docker/containerd-packaging).
_RELATIONS = {
    "docker-ce": {"Conflicts": "docker.io"},
    "docker-ce-cli": {"Conflicts": "docker.io, docker-cli"},
    "containerd.io": {
        "Provides": "containerd, runc",
        "Conflicts": "containerd, runc",
        "Replaces": "containerd, runc",
    },
}
_DEPENDS = {"docker-ce": "containerd.io, docker-ce-cli, iptables", "docker-ce-cli": "", "containerd.io": ""}
_MADE_OF = {"docker-ce": ("docker.io",), "docker-ce-cli": ("docker-cli",), "containerd.io": ("containerd", "runc")}
_DROPPED = ("Source", "Breaks", "Recommends", "Suggests", "Built-Using", "Static-Built-Using", "Enhances")


@dataclass(frozen=True)
class Repository:
    """A directory that is served as it is.

    Attributes:
        folder: with `dists/` and `pool/`, or flat, and the key in `gpg`.
        fingerprint: of that key.
    """

    folder: Path
    fingerprint: str

    def files(self, prefix: str) -> dict[str, bytes | Path]:
        """Path below `prefix` -> file, for `Mirror.files`."""
        return {f"{prefix}/{path.relative_to(self.folder)}": path for path in self.folder.rglob("*") if path.is_file()}


def docker_ce() -> Repository:
    """Docker's repository for Debian 13, with Debian's engine under Docker's names, relations and paths."""
    image = client().images.get(images.tag("debian-13"))

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            debian = _downloaded(str(image.id), Path(scratch))
            for name in _MADE_OF:
                _repacked(name, debian, Path(scratch), folder / "pool")
        sign(folder, packages="dists/trixie/stable/binary-amd64", pool="pool", release="dists/trixie")

    return _made("docker-ce", recipe_hash(Path(__file__), str(image.id)), build)


def _made(name: str, recipe: str, build: Callable[[Path], None]) -> Repository:
    folder = made(f"apt-{name}", recipe, build)
    return Repository(folder, (folder / "fingerprint").read_text())


def _downloaded(image: str, scratch: Path) -> Path:
    """The packages that lab hosts have at hand."""
    container = client().containers.create(image)
    try:
        chunks, _ = container.get_archive("/var/cache/apt/archives")
        with (scratch / "archives.tar").open("wb") as file:
            file.writelines(chunks)
    finally:
        container.remove(v=True)
    with tarfile.open(scratch / "archives.tar") as tar:
        tar.extractall(scratch, filter="data")
    return scratch / "archives"


def _repacked(name: str, debian: Path, scratch: Path, pool: Path) -> None:
    """One of Docker's packages. Its version is the one of the program, as Docker writes it."""
    tree = scratch / name
    for package in _MADE_OF[name]:
        (found,) = debian.glob(f"{package}_*.deb")
        unpacked = scratch / f"{name}-{package}"
        run(("dpkg-deb", "-R", found, unpacked), what=package)
        if tree.exists():
            shutil.rmtree(unpacked / "DEBIAN")
        shutil.copytree(unpacked, tree, symlinks=True, dirs_exist_ok=True)
    if name == "docker-ce":
        (tree / "usr/sbin/dockerd").rename(tree / "usr/bin/dockerd")
        (unit,) = tree.rglob("docker.service")
        unit.write_text(unit.read_text().replace("/usr/sbin/dockerd", "/usr/bin/dockerd"))
    (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
    _rewrite(tree / "DEBIAN/control", name)
    _package(tree, pool)


def _rewrite(control: Path, name: str) -> None:
    """The fields of Debian's package, with the name, version and relations of Docker's."""
    fields: dict[str, str] = {}
    key = ""
    for line in control.read_text().splitlines():
        if line.startswith(" "):
            fields[key] += f"\n{line}"
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    libraries = [
        one.strip() for one in fields.get("Depends", "").split(",") if one.strip().startswith(("lib", "adduser"))
    ]
    ours = [*libraries, *filter(None, [_DEPENDS[name]])]
    epoch = "" if name == "containerd.io" else "5:"
    upstream = fields["Version"].partition("+")[0].partition("~")[0].partition("-")[0]
    kept = {key: value for key, value in fields.items() if key not in (*_DROPPED, "Conflicts", "Provides", "Replaces")}
    kept |= {
        "Package": name,
        "Version": f"{epoch}{upstream}-1~debian.13~trixie",
        "Depends": ", ".join(ours),
        **_RELATIONS[name],
    }
    _write_control(control, kept)


def _write_control(path: Path, fields: Mapping[str, str]) -> None:
    path.write_text("".join(f"{key}: {value}\n" for key, value in fields.items() if value))


def _package(tree: Path, pool: Path) -> None:
    """Make `NAME.deb`. Weakly packed: it is made once and unpacked in tests only."""
    pool.mkdir(parents=True, exist_ok=True)
    words = ("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, pool / f"{tree.name}.deb")
    run(words, what=f"package {tree.name}")


def sign(folder: Path, packages: str = ".", pool: str = ".", release: str = ".", expired: bool = False) -> None:
    """The list of a repository's packages, and its signature by a new key: `gpg`, with its `fingerprint` beside it.

    Args:
        folder: the repository.
        packages: where the list goes; flat by default.
        pool: where the packages are.
        release: where the signature goes.
        expired: this copy of the key was good until yesterday; its owner has made it last longer since.
    """
    top = folder / release
    (folder / packages).mkdir(parents=True, exist_ok=True)
    listed = run(("apt-ftparchive", "packages", pool), what="package list", cwd=folder)
    (folder / packages / "Packages").write_text(listed)
    (top / "Release").write_text(run(("apt-ftparchive", "release", "."), what="release", cwd=top))
    with tempfile.TemporaryDirectory() as home:
        gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback")
        then = ("--faked-system-time", str(int(time.time()) - 2 * 86400)) if expired else ()
        until = "1d" if expired else "never"
        try:
            run((*gpg, *then, "--quick-generate-key", "Lab <lab@office.lan>", "ed25519", "sign", until), what="key")
            run((*gpg, "--armor", "--export", "-o", folder / "gpg"), what="public key")
            listed = run((*gpg, "--with-colons", "--list-keys"), what="fingerprint")
            fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
            if expired:
                run((*gpg, "--quick-set-expire", fingerprint, "0"), what="a longer life of the key")
            run((*gpg, "--clearsign", "-o", top / "InRelease", top / "Release"), what="signature")
        finally:
            run(("gpgconf", "--homedir", home, "--kill", "all"), what="end of the agent")
    (folder / "fingerprint").write_text(fingerprint)
