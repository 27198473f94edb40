"""What stands at a path: how it is asked, of many at once by one `stat` and one `sha256sum`, and how it is read."""

from collections.abc import Sequence
from dataclasses import field
from typing import Self

from provision.dataclass import dataclass
from provision.resources.base import Section, Together
from provision.values import quote

SHOWN = 64 << 10
"""Bytes of a text file up to which its content is read back for a diff, and sent inside a script."""


@dataclass(frozen=True)
class Found:
    """What is at a path. `kind` is `missing`, `file`, `directory`, `link` or `other`; `mode` as `0644`."""

    kind: str
    mode: str = ""
    owner: str = ""
    group: str = ""
    size: int = 0
    sha256: str = ""
    target: str = ""
    content: bytes | None = field(default=None, repr=False)


class Look(Together):
    """A probe: one line about `path`, then the file's content.

    Args:
        path: what is looked at.
        content: the file's content is wanted, where it is small.
        known: not the content with this SHA-256.
        follow: a link to a directory counts as one.
    """

    _names: tuple[str, ...]
    _calls: str

    def __new__(cls, path: str, content: bool = False, known: str = "", follow: bool = False) -> Self:
        """The fragment that works alone."""
        call = f"look {quote(path)} {SHOWN if content else -1} {quote(known)}"
        if not follow:
            return cls._made((path,), call)
        inside = f"{path}/."
        return cls._made((inside,), f"if [ -d {quote(path)} ]; then look {quote(inside)} -1; else {call}; fi")

    @classmethod
    def among(cls, *parts: str) -> Self:
        """A probe of several parts, one after the other: looks, the last of them, and fragments that fit among them.

        Such a fragment runs in the shell that all looks share: it must not `exit`, nor set `d`, `stats` or `sums`.
        """
        looks = [part for part in parts if isinstance(part, Look)]
        calls = (part._calls if isinstance(part, Look) else part.rstrip("\n") for part in parts)
        return cls._made(tuple(name for look in looks for name in look._names), "\n".join(calls))

    @classmethod
    def _made(cls, names: tuple[str, ...], calls: str) -> Self:
        made = super().__new__(cls, f"stats='' sums=''\n{_LOOK}{calls} || exit 1\n")
        made._names, made._calls = names, calls
        return made

    @classmethod
    def prepare(cls, asked: Sequence[Together]) -> str:
        """One `stat` and one `sha256sum` for all."""
        names = [name for one in asked if isinstance(one, Look) for name in one._names]
        return _LOOK_AT_ALL.format(names=" ".join(quote(name) for name in names)) + _LOOK

    def shared(self) -> str:
        """What `prepare` found out."""
        return self._calls


# A name that is not found there (it came in between, or is one that sha256sum escapes) is asked for by itself.
_LOOK = """\
nl='
'
look() {
    f=$1
    if [ -L "$f" ]; then printf 'link %s\\n' "$(readlink -- "$f")"; return; fi
    if [ ! -e "$f" ]; then echo missing; return; fi
    if [ ! -d "$f" ] && [ ! -f "$f" ]; then echo other; return; fi
    s=${stats%%"  $f$nl"*}
    s=${s##*"$nl"}
    [ -n "$s" ] || s=$(stat -c '%a %U %G %s' -- "$f") || return
    if [ -d "$f" ]; then echo "directory ${s% *}"; return; fi
    h=${sums%%"  $f$nl"*}
    h=${h##*"$nl"}
    [ -n "$h" ] || h=$(sha256sum <"$f") || return
    h=${h%% *}
    echo "file $s $h"
    [ "${s##* }" -gt "$2" ] || [ "$h" = "$3" ] || cat -- "$f"
}
"""

_LOOK_AT_ALL = """\
set -- {names}
stats=$(stat -c '%a %U %G %s  %n' -- "$@")
n=$#
for f; do
    if [ -f "$f" ] && [ ! -L "$f" ]; then set -- "$@" "$f"; fi
done
shift "$n"
sums=
[ $# = 0 ] || sums=$(sha256sum -- "$@")
stats="
$stats
"
sums="
$sums
"
"""


def seen(section: Section) -> Found:
    """Read what `look` printed.

    Raises:
        ValueError: it is not that.
    """
    line, _, content = section.out.partition(b"\n")
    kind, _, rest = line.decode("utf-8", "replace").partition(" ")
    words = rest.split()
    if kind == "link":
        return Found("link", target=rest)
    if kind in ("missing", "other"):
        return Found(kind)
    if kind == "directory" and len(words) == 3:
        return Found(kind, words[0].zfill(4), words[1], words[2])
    if kind == "file" and len(words) == 5:
        whole = content if len(content) == int(words[3]) else None
        return Found(kind, words[0].zfill(4), words[1], words[2], int(words[3]), words[4], content=whole)
    raise ValueError(f"not a description of a file: {section.text[:80]!r} {section.err.decode('utf-8', 'replace')}")
