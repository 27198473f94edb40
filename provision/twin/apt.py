"""This machine's own package sources and certificates, for images that are made without a registry."""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from provision.dataclass import dataclass
from provision.errors import InputError
from provision.values import printable

_OPTION = re.compile(r'Acquire::(https?::(Proxy|Verify|Timeout)\S*|Check-Valid-Until|Check-Date) ".+";')
_ONE_LINE = re.compile(r"(?m)^deb[ \t]+(?:\[[^\]]*\][ \t]+)?(\S+)[ \t]+(\S+)[ \t]+(.+?)[ \t]*(?:#.*)?$")


@dataclass(frozen=True)
class Source:
    """One package source: where, which suite, which components."""

    uri: str
    suite: str
    components: str

    def line(self) -> str:
        """As in `sources.list`."""
        return f"deb {self.uri} {self.suite} {self.components}"


def sources_for(suite: str) -> list[Source]:
    """The package sources of this machine, read as those of `suite`; none where it is no Debian."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return []
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    if release.get("ID") != "debian":
        return []
    own = release.get("VERSION_CODENAME", "")
    return translated(own, suite, [(file.suffix, file.read_text()) for file in files if file.is_file()])


def translated(own: str, suite: str, files: Iterable[tuple[str, str]]) -> list[Source]:
    """The sources of the suite `own` as those of `suite`; empty when the release itself is not among them. Pure.

    Args:
        own: the machine's suite, such as `bookworm`.
        suite: the wanted one.
        files: ending (`.list`, `.sources`) and text of each file below /etc/apt.
    """
    found: list[Source] = []
    for ending, text in files:
        found += _deb822(text) if ending == ".sources" else _lines(text) if ending == ".list" else []
    mine = [source for source in found if own and source.suite in (own, f"{own}-updates", f"{own}-security")]
    if not any(source.suite == own for source in mine):
        return []
    return [Source(s.uri, s.suite.replace(own, suite, 1), s.components) for s in dict.fromkeys(mine)]


def _lines(text: str) -> list[Source]:
    return [Source(*match) for match in _ONE_LINE.findall(text)]


def _deb822(text: str) -> list[Source]:
    found = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n", "", text)):
        fields = dict(re.findall(r"(?m)^(\w[\w-]*):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").strip() == "no":
            continue
        components = " ".join(fields.get("Components", "").split())
        uris, suites = fields.get("URIs", "").split(), fields.get("Suites", "").split()
        found += [Source(uri, suite, components) for uri in uris for suite in suites]
    return found


def options() -> list[str]:
    """How this machine fetches packages (proxy, date checks), as lines of `apt.conf`; none where it has no apt."""
    if not shutil.which("apt-config"):
        return []
    said = subprocess.run(("apt-config", "dump"), capture_output=True, text=True, check=False).stdout
    return [line for line in said.splitlines() if _OPTION.fullmatch(line)]


def certificates() -> dict[str, bytes]:
    """This machine's own CA certificates by file name."""
    return {file.name: file.read_bytes() for file in sorted(Path("/usr/local/share/ca-certificates").rglob("*.crt"))}


def mmdebstrap(suite: str, sources: Iterable[Source]) -> bytes:
    """A minimal Debian as a tar, from these sources.

    Raises:
        InputError: mmdebstrap failed.
    """
    extra = ('Acquire::Languages "none"', 'Acquire::Retries "5"')
    command = [
        "mmdebstrap", "--quiet", "--format=tar", "--variant=minbase", "--include=ca-certificates",
        *(f"--aptopt={line}" for line in (*options(), *extra)),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        suite, "-", *(source.line() for source in sources),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, check=False)
    if ended.returncode:
        last = printable(ended.stderr.decode(errors="replace").strip(), 2000).splitlines()[-3:]
        raise InputError(f"mmdebstrap {suite} ended with {ended.returncode}: {' | '.join(last)}")
    return ended.stdout
