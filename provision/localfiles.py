"""Digests of large files of the control machine: models and images that are uploaded. Remembered between runs."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from provision.data import cache_folder
from provision.dataclass import dataclass
from provision.errors import InputError


@dataclass(frozen=True)
class ImageArchive:
    """What a `docker save` archive holds: config digest `sha256:...`, manifest digest (newer engines) or "", tags."""

    config: str
    manifest: str
    tags: tuple[str, ...]


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    return str(_remembered("sha256", path, _hash))


def image_archive(path: Path) -> ImageArchive:
    """The image in a `docker save` archive: plain, gzip, xz, or zstd (needs the program `zstd`).

    Raises:
        InputError: it cannot be read, is no such archive, or holds several images.
    """
    found = _remembered("image", path, _read_archive)
    return ImageArchive(found["config"], found["manifest"], tuple(found["tags"]))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_archive(path: Path) -> dict[str, Any]:
    import tarfile  # which brings the compressions

    small: dict[str, bytes] = {}
    try:
        with _plain(path) as (stream, mode), tarfile.open(fileobj=stream, mode=mode) as tar:
            for member in tar:
                if member.name in ("manifest.json", "index.json") and member.size < 1 << 20:
                    file = tar.extractfile(member)
                    small[member.name] = file.read() if file else b""
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} is not an archive made by `docker save`: {error}") from error
    images = json.loads(small.get("manifest.json", b"[]"))
    if len(images) != 1:
        raise InputError(f"{path} holds {len(images)} images; save exactly one with `docker save`")
    # `<hex>.json` before Docker 25, `blobs/sha256/<hex>` after.
    config = "sha256:" + Path(images[0]["Config"]).name.removesuffix(".json")
    index = json.loads(small.get("index.json", b"{}")).get("manifests", [])
    return {"config": config, "manifest": index[0]["digest"] if index else "", "tags": images[0].get("RepoTags") or []}


@contextmanager
def _plain(path: Path) -> Iterator[tuple[IO[bytes], Any]]:
    with path.open("rb") as file:
        packed = file.read(4) == b"\x28\xb5\x2f\xfd"
    with path.open("rb") as file:
        if not packed:
            yield file, "r:*"
            return
        try:
            # From its standard input: given a name, zstd ignores symbolic links.
            with subprocess.Popen(["zstd", "-dc"], stdin=file, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                yield process.stdout, "r|"
                process.stdout.read()
        except FileNotFoundError as error:
            raise InputError(f"{path} is compressed with zstd", "install zstd on this machine") from error


def _remembered(kind: str, path: Path, make: Callable[[Path], Any]) -> Any:
    """`make(path)`, or what it gave for the same file (path, size, modification time) before."""
    try:
        stat = path.stat()
        key = f"{kind}:{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        known = _known(_cache())
        if key not in known:
            known[key] = make(path)
            # Other runs may have remembered more since.
            _store(_load(_cache()) | {key: known[key]})
        return known[key]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _cache() -> Path:
    return cache_folder() / "digests.json"


@cache
def _known(file: Path) -> dict[str, Any]:
    """What was remembered before this run, and what it adds: a fleet's hosts have the same files."""
    return _load(file)


def _load(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text())
        return known if isinstance(known, dict) else {}
    return {}


def _store(known: dict[str, Any]) -> None:
    """Several runs may write at once: the last one wins, nobody reads half a file. A cache may be lost."""
    with suppress(OSError):
        _cache().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=_cache().parent, delete=False) as file:
            json.dump(dict(list(known.items())[-500:]), file)
        Path(file.name).replace(_cache())
