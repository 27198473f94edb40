"""Files, directories, symbolic links, and things that must not be there."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import ClassVar

from provision.dataclass import dataclass
from provision.localfiles import file_digest
from provision.resources.base import Change, Diff, Pending, Run, Section, Step, Upload
from provision.resources.look import SHOWN, Found, Look, seen
from provision.values import ELIDED, quote, sha256

INCOMING = "/run/provision/incoming"
"""Where uploads wait to be put in place: 0700, root."""


@dataclass(frozen=True)
class File:
    """A regular file with this content, owner and mode. Parent directories are made (0755, root) where missing.

    It is written beside its place under another name, synced, and renamed: nobody reads half of it.

    Args:
        path: absolute.
        content: text, bytes, or a file of the control machine.
        mode: four octal digits.
        sensitive: the content is never shown, and travels as an upload.
        hidden: names of keys (`HTTP_PROXY`) whose values are elided in diffs, on both sides.
        note: added to the reason in the plan, for what a reader should know.
    """

    path: str
    content: str | bytes | Path = field(repr=False)
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    sensitive: bool = False
    hidden: tuple[str, ...] = ()
    note: str = ""

    @property
    def id(self) -> str:
        """`file:PATH`."""
        return f"file:{self.path}"

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the content."""
        return file_digest(self.content) if isinstance(self.content, Path) else sha256(self.content)

    def probe(self) -> str:
        """What is there; the content only when it may be shown."""
        return Look(self.path, content=not self.sensitive, known=self.digest)

    def observe(self, section: Section) -> Found:
        """What is there."""
        return seen(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create` or `update`.

        Raises:
            ValueError: something that is no file stands there.
        """
        if observed.kind in ("directory", "other"):
            raise ValueError(f"a {observed.kind} stands at {self.path}; move it away")
        wanted = {"mode": self.mode, "owner": self.owner, "group": self.group, "sha256": self.digest}
        if observed.kind == "missing":
            return Change(self.id, "create", self._why("not there"), after=self._shown(wanted), diffs=self._diff(None))
        actual = {key: getattr(observed, key) for key in wanted}
        if observed.kind == "link":
            why = f"a link to {observed.target} stands there"
            return Change(
                self.id, "update", self._why(why), {"link": observed.target}, self._shown(wanted), self._diff(None)
            )
        different = [key for key in wanted if actual[key] != wanted[key]]
        if not different:
            return None
        names = ", ".join("content" if key == "sha256" else key for key in different)
        diffs = self._diff(observed.content) if "sha256" in different else ()
        before, after = (self._shown({key: side[key] for key in different}) for side in (actual, wanted))
        return Change(self.id, "update", self._why(f"{names} differs"), before, after, diffs)

    def _shown(self, attributes: dict[str, str]) -> dict[str, str]:
        """For a reader. A short secret could be found from its digest."""
        return attributes | {"sha256": ELIDED} if self.sensitive and "sha256" in attributes else attributes

    def _why(self, reason: str) -> str:
        return f"{reason}; {self.note}" if self.note else reason

    def _diff(self, before: bytes | None) -> tuple[Diff, ...]:
        if self.sensitive or isinstance(self.content, Path) or len(self.content) > SHOWN:
            return ()
        after = self.content if isinstance(self.content, str) else self.content.decode("utf-8", "replace")
        old = (before or b"").decode("utf-8", "replace")
        return (Diff(self.path, elide(old, self.hidden), elide(after, self.hidden)),)

    def steps(self, change: Change) -> Iterator[Step]:
        """Content by script where it is short and plain text, else by upload."""
        if isinstance(self.content, str) and not self.sensitive and len(self.content) <= SHOWN:
            yield Run(_PUT.format(**self._places(), fill=f'printf %s {quote(self.content)} >"$t"'))
            return
        waiting = f"{INCOMING}/{self.digest[:32]}"
        yield Run(f"mkdir -p -m 0700 {INCOMING}")
        content = self.content.encode() if isinstance(self.content, str) else self.content
        yield Upload(waiting, content, self.digest)
        fill = f'cat {quote(waiting)} >"$t" && rm -f {quote(waiting)}'
        yield Run(_PUT.format(**self._places(), fill=fill), timeout=600)

    def _places(self) -> dict[str, str]:
        return {
            "path": quote(self.path),
            "folder": quote(posixpath.dirname(self.path)),
            "owner": quote(f"{self.owner}:{self.group}"),
            "mode": quote(self.mode),
        }


_PUT = """\
umask 022
mkdir -p {folder} || exit 1
umask 077
t=$(mktemp {folder}/.provision.XXXXXX) || exit 1
trap 'rm -f "$t"' EXIT
{{ {fill}; }} || exit 1
chown {owner} "$t" && chmod {mode} "$t" || exit 1
sync "$t" 2>/dev/null || sync
mv -fT "$t" {path}
"""


@dataclass(frozen=True)
class Directory:
    """A directory with this owner and mode; its content is left alone. Missing parents are made (0755, root)."""

    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"

    @property
    def id(self) -> str:
        """`directory:PATH`."""
        return f"directory:{self.path}"

    def probe(self) -> str:
        """What is there; a link to a directory counts as one."""
        return Look(self.path.rstrip("/"), follow=True)

    def observe(self, section: Section) -> Found:
        """What is there."""
        return seen(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create` or `update`.

        Raises:
            ValueError: something that is no directory stands there.
        """
        wanted = {"mode": self.mode, "owner": self.owner, "group": self.group}
        if observed.kind in ("file", "other"):
            raise ValueError(f"a {observed.kind} stands at {self.path}; move it away")
        if observed.kind != "directory":
            return Change(self.id, "create", "not there", after=wanted)
        actual = {key: getattr(observed, key) for key in wanted}
        if actual == wanted:
            return None
        different = [key for key in wanted if actual[key] != wanted[key]]
        before, after = ({key: side[key] for key in different} for side in (actual, wanted))
        return Change(self.id, "update", f"{', '.join(different)} differs", before, after)

    def steps(self, change: Change) -> Iterator[Step]:
        """One script."""
        path = quote(self.path)
        owner = quote(f"{self.owner}:{self.group}")
        yield Run(f"umask 022\nmkdir -p {path} && chown {owner} {path} && chmod {quote(self.mode)} {path}\n")


@dataclass(frozen=True)
class Link:
    """A symbolic link, switched atomically. A file or directory in its place is an error."""

    path: str
    target: str

    @property
    def id(self) -> str:
        """`link:PATH`."""
        return f"link:{self.path}"

    def probe(self) -> str:
        """What is there."""
        return Look(self.path)

    def observe(self, section: Section) -> Found:
        """What is there."""
        return seen(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create` or `update`.

        Raises:
            ValueError: something that is no link stands there.
        """
        if observed.kind not in ("missing", "link"):
            raise ValueError(f"a {observed.kind} stands at {self.path}; move it away")
        if observed.target == self.target:
            return None
        action = "create" if observed.kind == "missing" else "update"
        why = f"{observed.target or 'nothing'} -> {self.target}"
        return Change(self.id, action, why, {"target": observed.target}, {"target": self.target})

    def steps(self, change: Change) -> Iterator[Step]:
        """One script."""
        yield Run(switch(self.path, self.target))


def switch(path: str, target: str) -> str:
    """A fragment that makes `path` a link to `target`; readers see the old one or the new one."""
    folder, name = posixpath.split(path)
    temporary = quote(f"{folder}/.{name}.provision")
    return (
        f"umask 022\nmkdir -p {quote(folder)} && rm -f {temporary} && ln -s {quote(target)} {temporary} "
        f"&& mv -fT {temporary} {quote(path)} || exit 1\n"
    )


@dataclass(frozen=True)
class Absent:
    """Nothing is at this path. A directory is removed with all it holds when `recursive`.

    `why` says in the plan what it was for.
    """

    owned: ClassVar[bool] = False
    path: str
    why: str = "no longer wanted"
    recursive: bool = False

    @property
    def id(self) -> str:
        """`absent:PATH`."""
        return f"absent:{self.path}"

    def probe(self) -> str:
        """What is there."""
        return Look(self.path)

    def observe(self, section: Section) -> Found:
        """What is there."""
        return seen(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`remove` what is there.

        Raises:
            ValueError: a directory stands there and was not meant.
        """
        if observed.kind == "missing":
            return None
        if observed.kind == "directory" and not self.recursive:
            raise ValueError(f"a directory stands at {self.path}; move it away")
        return Change(self.id, "remove", self.why, before={"kind": observed.kind})

    def steps(self, change: Change) -> Iterator[Step]:
        """One script."""
        yield Run(f"rm -{'r' if self.recursive else ''}f -- {quote(self.path)}\n")


def elide(text: str, keys: tuple[str, ...]) -> str:
    """`text` with the values of these keys replaced, as `KEY=value` and `"key": "value"`."""
    for key in keys:
        name = re.escape(key)
        text = re.sub(rf'(?m)(\b{name}=)[^"\n]*', rf"\g<1>{ELIDED}", text)
        text = re.sub(rf'("{name}"\s*:\s*)"(?:[^"\\]|\\.)*"', rf'\g<1>"{ELIDED}"', text)
    return text
