"""Digests of local files, and what an image archive says of itself."""

import gzip
import hashlib
import io
import json
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from provision import localfiles
from provision.errors import InputError

HEX = "ab" * 32
MANIFEST = {"Config": f"{HEX}.json", "RepoTags": ["web:1"], "Layers": []}
OLD = {"layer.tar": b"x" * 5000, "manifest.json": [MANIFEST]}
NEW = {
    "index.json": {"manifests": [{"digest": "sha256:cd"}]},
    "manifest.json": [{"Config": f"blobs/sha256/{HEX}", "RepoTags": None, "Layers": []}],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def archive(members: Mapping[str, object]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in members.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return data.getvalue()


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, zstd], ids=["plain", "gzip", "xz", "zstd"])
def test_an_archive_tells_its_image_however_it_is_compressed(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "image"
    file.write_bytes(compress(archive(OLD)))
    assert localfiles.image_archive(file) == localfiles.ImageArchive(f"sha256:{HEX}", "", ("web:1",))


def test_a_newer_engine_s_archive_tells_its_manifest_too(tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(archive(NEW))
    assert localfiles.image_archive(file) == localfiles.ImageArchive(f"sha256:{HEX}", "sha256:cd", ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an archive", "is not an archive made by `docker save`"),
        (zstd(b"not an archive") if shutil.which("zstd") else b"", "is not an archive made by `docker save`"),
        (archive(OLD)[:3000], "is not an archive"),
        (archive({"a": b""}), "holds 0 images"),
        (archive({"manifest.json": [MANIFEST, MANIFEST]}), "holds 2 images"),
    ],
    ids=["text", "compressed text", "cut", "no image", "two images"],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "image"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        localfiles.image_archive(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.gguf: No such file"):
        localfiles.file_digest(tmp_path / "gone.gguf")


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"one")
    assert localfiles.file_digest(file) == hashlib.sha256(b"one").hexdigest()
    known = cache / "provision/digests.json"
    known.write_text(known.read_text().replace(localfiles.file_digest(file), "remembered"))
    localfiles._known.cache_clear()  # as the next run finds it
    assert localfiles.file_digest(file) == "remembered"
    file.write_bytes(b"another")
    assert localfiles.file_digest(file) == hashlib.sha256(b"another").hexdigest()


def test_what_another_run_remembers_meanwhile_is_kept(tmp_path: Path, cache: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    localfiles.file_digest(tmp_path / "one")
    known = cache / "provision/digests.json"
    known.write_text(json.dumps(json.loads(known.read_text()) | {"theirs": "kept"}))
    localfiles.file_digest(tmp_path / "two")
    assert json.loads(known.read_text())["theirs"] == "kept"


def test_a_damaged_cache_is_no_obstacle(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"one")
    (cache / "provision").mkdir(parents=True)
    (cache / "provision/digests.json").write_text("{")
    assert localfiles.file_digest(file) == hashlib.sha256(b"one").hexdigest()


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    file = tmp_path / "model"
    file.write_bytes(b"one")
    assert localfiles.file_digest(file) == hashlib.sha256(b"one").hexdigest()
