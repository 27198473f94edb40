"""Probes of Docker objects, and the labels that we put on what we make."""

import json
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import quote as urlquote

from provision.dataclass import dataclass
from provision.resources.base import Section, Together
from provision.values import printable, quote

SPEC = "provision.spec"
"""Label: SHA-256 of the whole specification."""
PUBLIC = "provision.public"
"""Label: the specification without secrets, as JSON, so that a plan can name what changed."""
REPLACES = "provision.replaces"
"""Label: the id of the container that this one takes the place of."""

SOCKET = "/var/run/docker.sock"
"""Where the engine listens."""

# `timeout`: a daemon that hangs must not hang the probe of everything else. It is waited for once.
_PROGRAM = """\
inspect() {
    kind=$1
    shift
    if [ -z "$silent" ]; then
        said=$(timeout 30 docker "$kind" inspect --format "$kind {{json .}}" "$@" 2>&1)
        [ $? != 124 ] || silent=1
    fi
    [ -z "$silent" ] || said='the Docker engine does not answer'
    printf '%s\\n' "$said"
}
"""
TOOLS = f"""\
silent=
if ! command -v docker >/dev/null 2>&1; then echo 'docker is not installed' >&2; exit 3; fi
{_PROGRAM}"""
"""`inspect KIND NAME...` prints what `found` reads, and leaves it in $said."""

# The same by the engine's own answers, of which the docker program's are copies. Whatever keeps curl from getting all
# of them (no engine, no curl, another engine by a context) is left to the docker program and its words; but
# for an engine that did not answer in time (curl: 28).
_ANSWERS = """\
nl='
'
a=$PROVISION_TMP/docker n=0 codes='' silent=
other=${{DOCKER_HOST-}}${{DOCKER_CONTEXT-}}
if [ -S {socket} ] && [ -z "$other" ] && [ ! -e "${{HOME:-/root}}/.docker/contexts" ]; then
    codes=$(
        curl -sS -g --fail-early --noproxy '*' --max-time 30 --unix-socket {socket} -w '%{{http_code}} ' {urls}
    )
    case $? in
    0) ;;
    28) codes='' silent=1 ;;
    *) codes= ;;
    esac
fi
if [ -n "$codes" ]; then
    inspect() {{
        kind=$1 said=
        shift
        for name; do
            case ${{codes%% *}} in
            200) said="$said$kind $(cat "$a-$n")$nl" ;;
            404) ;;
            *) said="$said$(cat "$a-$n")$nl" ;;
            esac
            codes=${{codes#* }}
            n=$((n + 1))
        done
        printf '%s' "$said"
    }}
elif command -v docker >/dev/null 2>&1; then
{program}else
    inspect() {{
        said=
        echo 'docker is not installed' >&2
    }}
fi
"""

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "volume": "/volumes/{}",
    "network": "/networks/{}",
}


class Inspect(Together):
    """A probe: `docker KIND inspect` of these objects, then a fragment that may look at $said of the last of them.

    Together they are asked for by one curl: the docker program needs 25 ms of CPU for its start alone.

    Args:
        objects: (kind, its names).
        then: the fragment.
    """

    _names: tuple[tuple[str, str], ...]
    _calls: str

    def __new__(cls, *objects: tuple[str, Sequence[str]], then: str = "") -> Self:
        """The fragment that works alone."""
        calls = "".join(inspect(kind, *names) for kind, names in objects) + then
        made = super().__new__(cls, TOOLS + calls)
        made._names = tuple((kind, name) for kind, names in objects for name in names)
        made._calls = calls
        return made

    @classmethod
    def prepare(cls, asked: Sequence[Together]) -> str:
        """One request for each object."""
        names = [name for one in asked if isinstance(one, Inspect) for name in one._names]
        urls = (f"http://docker{_PATHS[kind].format(urlquote(name, safe='/:@'))}" for kind, name in names)
        outputs = " ".join(f'-o "$a-{number}" {quote(url)}' for number, url in enumerate(urls))
        return _ANSWERS.format(socket=SOCKET, urls=outputs, program=_PROGRAM)

    def shared(self) -> str:
        """What curl got, or what the docker program says."""
        return self._calls


_MISSING = ("no such container", "no such image", "no such volume", "no such network", "no such object", "not found")
"""What `docker inspect` says of an object that is not there, by kind and version."""


@dataclass(frozen=True)
class Found:
    """What `docker inspect` said: the objects by kind, in order, or why Docker did not answer."""

    objects: tuple[tuple[str, dict[str, Any]], ...] = ()
    complaint: str = ""

    def of(self, kind: str) -> tuple[dict[str, Any], ...]:
        """Objects of one kind."""
        return tuple(item for what, item in self.objects if what == kind)


def inspect(kind: str, *names: str) -> str:
    """Fragment: inspect these objects; those that are missing print nothing that `found` takes for an object."""
    return f"inspect {kind} {' '.join(quote(name) for name in names)}\n"


def found(section: Section) -> Found:
    """Read what `inspect` printed.

    Raises:
        ValueError: an object cannot be read.
    """
    objects, complaint = [], ""
    for line in [*section.lines, *section.err.decode("utf-8", "replace").splitlines()]:
        kind, _, text = line.partition(" ")
        if kind in ("container", "image", "volume", "network") and text.startswith("{"):
            try:
                objects.append((kind, json.loads(text)))
            except ValueError as error:
                raise ValueError(f"docker {kind} inspect printed {printable(line, 80)!r}") from error
        elif line.strip() and not any(words in line.lower() for words in _MISSING):
            complaint = line.strip()
    # Any other complaint than that of a missing object counts only when nothing was found.
    return Found(tuple(objects), "" if objects else printable(complaint, 200))


def labels(item: dict[str, Any]) -> dict[str, str]:
    """An object's labels, wherever its kind keeps them."""
    return (item.get("Config") or item).get("Labels") or {}
