"""An image in the host's Docker engine: pulled from a registry, or loaded from an archive of the control machine."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote as urlquote

from provision import localfiles
from provision.dataclass import dataclass
from provision.resources import docker_cli
from provision.resources.base import Change, Job, Pending, Run, Section, Step, Upload
from provision.resources.docker_cli import SOCKET, Found
from provision.resources.ollama_model import INCOMING
from provision.resources.space import space
from provision.resources.stream import DOCKER_HOPELESS, Stream
from provision.values import quote

_UNPACK = {"zstd": "zstd -dc", "gzip": "gzip -dc", "plain": "cat"}
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._:/\-]*")


@dataclass(frozen=True)
class Image:
    """An image under a local name.

    Args:
        name: `repository:tag`, the name that containers use.
        digest: of the manifest in the registry, `sha256:...`: pins what is pulled.
        archive: made by `docker save`, plain, gzip or zstd; then nothing is pulled. Pinned by its config digest.
        tags: further local names.
    """

    name: str
    digest: str | None = None
    archive: Path | None = None
    tags: tuple[str, ...] = ()
    attempts: int = 5
    stall: float = 180.0

    @property
    def id(self) -> str:
        """`image:NAME`."""
        return f"image:{self.name}"

    @property
    def repository(self) -> str:
        """The name without its tag."""
        head, colon, tail = self.name.rpartition(":")
        return head if colon and "/" not in tail else self.name

    @property
    def tag(self) -> str:
        """The tag, `latest` when none is given."""
        return self.name[len(self.repository) + 1 :] or "latest"

    @property
    def pinned(self) -> str | None:
        """The digest that says which image it is: of the config (archive) or of the manifest (registry)."""
        return localfiles.image_archive(self.archive).config if self.archive else self.digest

    @property
    def mark(self) -> str:
        """A local name that only this very image gets from us.

        Engines with containerd's image store have ids that an archive of an older engine does not tell.
        """
        return f"{self.repository}:provision-{(self.pinned or '').removeprefix('sha256:')[:12]}"

    def probe(self) -> str:
        """`docker image inspect`."""
        names = (self.name, *self.tags, *((self.mark,) if self.archive else ()))
        return docker_cli.Inspect(("image", names))

    def observe(self, section: Section) -> Found:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        return docker_cli.found(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`pull` or `load` when the name is missing or another image's; `tag` when only names are missing."""
        action = "load" if self.archive else "pull"
        after = {"digest": self.pinned} if self.pinned else {"name": self.name}
        images = observed.of("image")
        there = named(images, self.name)
        if observed.complaint or there is None:
            size = self.archive.stat().st_size if self.archive else None
            why = observed.complaint or "not there"
            return Change(self.id, action, why, after=after, download=size, uncertain=bool(observed.complaint))
        before = {"id": there.get("Id"), "digests": there.get("RepoDigests") or []}
        if not self._right(there, images):
            return Change(self.id, action, "another image has this name", before, after)
        if missing := [name for name in self.tags if (named(images, name) or {}).get("Id") != there.get("Id")]:
            return Change(self.id, "tag", f"{', '.join(missing)} missing", before, {"tags": list(self.tags)})
        return None

    def _right(self, there: dict[str, Any], images: tuple[dict[str, Any], ...]) -> bool:
        if self.archive:
            known = localfiles.image_archive(self.archive)
            marked = named(images, self.mark)
            return there.get("Id") in (known.config, known.manifest) or (
                marked is not None and marked.get("Id") == there.get("Id")
            )
        if self.digest:
            digests = [str(item).rpartition("@")[2] for item in there.get("RepoDigests") or []]
            return self.digest in (*digests, there.get("Id"))
        return True

    def steps(self, change: Change) -> Iterator[Step]:
        """Bring it, then name it."""
        if change.action == "load":
            yield from self._load()
        elif change.action == "pull":
            yield self._pull()
        if self.tags:
            yield Run("".join(f"docker tag {quote(self.name)} {quote(tag)}\n" for tag in self.tags))

    def _pull(self) -> Job:
        wanted = urlquote(self.digest or self.tag, safe="")
        url = f"http://localhost/images/create?fromImage={urlquote(self.repository, safe='')}&tag={wanted}"
        stream = Stream(
            self.name,
            f"--unix-socket {SOCKET} {quote(url)}",
            success="",
            hopeless=DOCKER_HOPELESS,
            attempts=self.attempts,
            stall=self.stall,
        )
        pulled = f"{self.repository}@{self.digest}"
        return stream.job("image-pull", f"docker tag {quote(pulled)} {quote(self.name)}\n" if self.digest else "")

    def _load(self) -> Iterator[Step]:
        assert self.archive is not None
        digest = localfiles.file_digest(self.archive)
        waiting = f"{INCOMING}/{digest}"
        yield Run(f"umask 077; mkdir -p {quote(INCOMING)}\n")
        yield space(self.archive.stat().st_size, INCOMING)
        yield Upload(waiting, self.archive, digest)
        names = " ".join(quote(name) for name in (self.name, self.mark))
        yield Job(
            f"image-load-{digest[:12]}",
            _LOAD.format(file=quote(waiting), unpack=_UNPACK[compression(self.archive)], names=names),
        )


# `docker load` reads zstd only from Docker 23 on. Archives without a tag say their id, others their name.
_LOAD = """\
trap 'rm -f {file}' EXIT
said=$({unpack} {file} | docker load 2>&1) || {{ printf '%s\\n' "$said" >&2; exit 1; }}
loaded=$(printf '%s\\n' "$said" | sed -n 's/^Loaded image\\( ID\\)\\{{0,1\\}}: //p' | head -n 1)
if [ -z "$loaded" ]; then printf '%s\\n' "$said" >&2; exit 1; fi
for name in {names}; do docker tag "$loaded" "$name" || exit 1; done
"""


def named(images: tuple[dict[str, Any], ...], name: str) -> dict[str, Any] | None:
    """The image that has this local name."""
    full = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    return next((item for item in images if full in (item.get("RepoTags") or [])), None)


def compression(archive: Path) -> str:
    """How a local archive is compressed, by its first bytes: `zstd`, `gzip` or `plain`."""
    with archive.open("rb") as file:
        head = file.read(4)
    return "zstd" if head == b"\x28\xb5\x2f\xfd" else "gzip" if head[:2] == b"\x1f\x8b" else "plain"
