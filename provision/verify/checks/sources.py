"""What several checks want to know of the same source, found out once for all of them: systemd, Docker, Ollama's API.

Asking costs the host a process for each object otherwise, and most of what `verify` costs is what the hosts do.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self
from urllib.parse import quote as in_url

from provision.dataclass import dataclass
from provision.resources.base import Together
from provision.values import quote, sha256


@dataclass(frozen=True)
class Told:
    """What the Docker engine tells of something: `info`, `list` (all containers), or a container, an image, a volume.

    Args:
        kind: one of these words.
        name: of the object.
    """

    kind: str
    name: str = ""

    @property
    def path(self) -> str:
        """Of the engine's API (docs.docker.com/reference/api/engine)."""
        if self.kind in _CALLS:
            return _CALLS[self.kind]
        name = in_url(self.name, safe="/:@")
        return f"volumes/{name}" if self.kind == "volume" else f"{self.kind}s/{name}/json"

    @property
    def file(self) -> str:
        """Where the answer waits, below `$PROVISION_TMP`."""
        return f"verify-engine-{sha256(self.path)[:16]}"

    @property
    def call(self) -> str:
        """Command for a question: prints `KIND JSON`. Without such an object the engine's complaint, or nothing."""
        return f"tell {self.kind} {quote(self.name)} {self.file}"


_CALLS = {"info": "info", "list": "containers/json?all=1"}


@dataclass(frozen=True)
class Page:
    """What an API answers at `url`, within 20 s."""

    url: str

    @property
    def file(self) -> str:
        """Where the answer waits, below `$PROVISION_TMP`."""
        return f"verify-page-{sha256(self.url)[:16]}"

    @property
    def call(self) -> str:
        """Command for a question: prints the answer. Without one it fails, with curl's complaint and status."""
        return f"page {self.file}"


class Asked(Together):
    """A question that shares what it wants to know of sources with others.

    Args:
        script: must not `exit`. It may call `unit NAME` for each of the units, which sets `$p` to the number of its
            process (0: none), `$started` to the process's start (µs after boot), `$files` to the paths of its files and
            `$told` to the lines that systemd told; and the `call` of each of the answers.
        units: whole names.
        answers: of the Docker engine and of APIs.
    """

    script: str
    units: tuple[str, ...]
    answers: tuple[Told | Page, ...]

    def __new__(cls, script: str, units: Iterable[str] = (), answers: Iterable[Told | Page] = ()) -> Self:
        """The fragment that works alone."""
        wanted, told = tuple(units), tuple(answers)
        made = super().__new__(cls, _sources(wanted, told) + script)
        made.script, made.units, made.answers = script, wanted, told
        return made

    @classmethod
    def prepare(cls, asked: Sequence[Together]) -> str:
        """One `systemctl` for all units, one `curl` for all of Docker, one for all pages."""
        mine = [one for one in asked if isinstance(one, Asked)]
        return _sources([name for one in mine for name in one.units], [told for one in mine for told in one.answers])

    def shared(self) -> str:
        """The question alone."""
        return self.script


def _sources(units: Iterable[str], answers: Iterable[Told | Page]) -> str:
    names, wanted = dict.fromkeys(units), dict.fromkeys(answers)
    text = _UNITS.format(units=" ".join(map(quote, names))) if names else ""
    objects = {f"http://localhost/{one.path}": one.file for one in wanted if isinstance(one, Told)}
    if objects:
        text += _ENGINE.replace("GETS", _gets(objects))
    pages = {one.url: one.file for one in wanted if isinstance(one, Page)}
    if pages:
        text += _PAGES.replace("GETS", _gets(pages))
    return text


def _gets(files: Mapping[str, str]) -> str:
    return " ".join(f'-o "$PROVISION_TMP/{file}" {quote(url)}' for url, file in files.items())


# An empty line stands between two units, in the order in which they were asked for.
_UNITS = """\
set -- {units}
systemctl show -p ActiveState,UnitFileState,MainPID,Environment,FragmentPath,DropInPaths \\
    -p ExecMainStartTimestampMonotonic -- "$@" 2>/dev/null |
    while IFS= read -r line; do
        if [ -n "$line" ]; then printf '%s\\n' "$line" >>"$PROVISION_TMP/verify-unit-$1"; else shift; fi
    done
unit() {{
    told='' p=0 started=0 files=''
    [ -e "$PROVISION_TMP/verify-unit-$1" ] || return 0
    while IFS= read -r line; do
        told="$told$line
"
        case $line in
        MainPID=*) p=${{line#*=}} ;;
        ExecMainStartTimestampMonotonic=*) started=${{line#*=}} ;;
        FragmentPath=?* | DropInPaths=?*) files="$files ${{line#*=}}" ;;
        esac
    done <"$PROVISION_TMP/verify-unit-$1"
}}
"""

# Docker's own program costs several times as much as curl, for each object once more; it answers where there is no
# curl, and says best why there is no engine. An engine that hangs is waited for once.
_ENGINE = """\
s=/var/run/docker.sock silent=
[ ! -S "$s" ] || curl -sS --noproxy '*' --max-time 20 --fail-early --unix-socket "$s" GETS 2>/dev/null || {
    [ $? != 28 ] || silent=1
}
tell() {
    if [ -s "$PROVISION_TMP/$3" ]; then
        printf '%s ' "$1"
        cat "$PROVISION_TMP/$3"
        return
    fi
    if ! command -v docker >/dev/null 2>&1; then echo 'docker is not installed' >&2; return 3; fi
    [ -z "$silent" ] || return 1
    case $1 in
    info) timeout 20 docker info --format 'info {{json .}}' ;;
    list) timeout 20 docker ps -a --no-trunc --format 'list {"Id":{{json .ID}},"Ports":{{json .Ports}}}' ;;
    *) timeout 20 docker "$1" inspect --format "$1 {{json .}}" "$2" ;;
    esac
    set -- $?
    [ "$1" != 124 ] || silent=1
    return "$1"
}
"""

# Whoever does not answer once is not waited for again.
_PAGES = """\
curl -sS --noproxy '*' --max-time 20 --fail-early GETS 2>"$PROVISION_TMP/verify-pages"
got=$?
page() {
    if [ -s "$PROVISION_TMP/$1" ]; then
        cat "$PROVISION_TMP/$1"
        return
    fi
    cat "$PROVISION_TMP/verify-pages" >&2
    return "$got"
}
"""
