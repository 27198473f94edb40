"""A package repository of apt: a deb822 file of ours, and its key, pinned by fingerprint."""

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from provision.resources.base import Change, Diff, Job, Pending, Run, Section, Step, Upload
from provision.resources.file import INCOMING, File, Found, look, seen
from provision.resources.package import APT, apt_progress
from provision.values import quote, sha256

SOURCES = "/etc/apt/sources.list.d"
KEYRINGS = "/etc/apt/keyrings"


@dataclass(frozen=True)
class Listed:
    """What is there: our file, the fingerprints of the keys in the keyring, older files that name the same address."""

    file: Found
    fingerprints: tuple[str, ...]
    rivals: tuple[str, ...]


@dataclass(frozen=True)
class Repository:
    """A repository and the one key that signs it.

    Args:
        name: file name of the sources and the keyring, without suffix.
        uri: base address.
        suites: `stable`, a code name, or `/` for a flat repository.
        components: none for a flat repository.
        key: address of the key, or a file of the control machine.
        fingerprint: of its primary key, 40 hex digits. A keyring with any other primary key is refused.
        architecture: as dpkg says it.
        proxy_file: a file of shell assignments (`HTTPS_PROXY=...`) that the download of the key reads, if it exists.
    """

    name: str
    uri: str
    suites: str
    components: str
    key: str | Path
    fingerprint: str
    architecture: str = ""
    proxy_file: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """`repository:NAME`."""
        return f"repository:{self.name}"

    @property
    def keyring(self) -> str:
        """Where the key is kept."""
        return f"{KEYRINGS}/{self.name}.gpg"

    @property
    def sources(self) -> File:
        """The deb822 file."""
        fields = {
            "Types": "deb",
            "URIs": self.uri,
            "Suites": self.suites,
            "Components": self.components,
            "Architectures": self.architecture,
            "Signed-By": self.keyring,
        }
        text = "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        return File(f"{SOURCES}/{self.name}.sources", text)

    def probe(self) -> str:
        """Our file, then the keyring's fingerprints, then other files that name the address."""
        bare = self.uri.rstrip("/").partition("://")[2]
        return (
            f"gpg --batch --show-keys --with-colons {quote(self.keyring)} 2>/dev/null |\n"
            '  awk -F: \'$1 == "pub" { p = 1 } $1 == "fpr" && p { print "fpr=" $10; p = 0 }\'\n'
            f"grep -lF {quote(bare)} {SOURCES}/*.list {SOURCES}/*.sources /etc/apt/sources.list 2>/dev/null |\n"
            "  sed 's/^/rival=/'\necho --\n" + look(self.sources.path, content=True)
        )

    def observe(self, section: Section) -> Listed:
        """What is there.

        Raises:
            ValueError: the answer cannot be understood.
        """
        head, _, rest = section.out.partition(b"--\n")
        lines = [line.partition("=") for line in head.decode("utf-8", "replace").splitlines()]
        rivals = (value for key, _, value in lines if key == "rival" and value != self.sources.path)
        prints = (value for key, _, value in lines if key == "fpr")
        return Listed(seen(Section(section.rc, rest, section.err)), tuple(prints), tuple(rivals))

    def plan(self, observed: Listed, pending: Pending) -> Change | None:
        """`create` or `update`.

        Raises:
            ValueError: another file names the same address: apt would refuse both ("Conflicting Signed-By").
        """
        if observed.rivals:
            raise ValueError(f"{', '.join(observed.rivals)} names the same repository; remove it or what it says")
        key_is_right = observed.fingerprints == (self.fingerprint,)
        change = self.sources.plan(observed.file, pending)
        if change is None and key_is_right:
            return None
        why = change.why if change else f"its keyring holds {' '.join(observed.fingerprints) or 'no key'}"
        diffs: tuple[Diff, ...] = change.diffs if change else ()
        action = "create" if observed.file.kind == "missing" else "update"
        return Change(self.id, action, why, after={"uri": self.uri, "key": self.fingerprint}, diffs=diffs)

    def steps(self, change: Change) -> Iterator[Step]:
        """The key first, then the file, then this repository's package lists."""
        key = f"{INCOMING}/{self.name}.key"
        yield Run(f"mkdir -p -m 0700 {INCOMING}\n")
        if isinstance(self.key, Path):
            yield Upload(key, self.key)
        else:
            proxy = f"[ ! -r {quote(self.proxy_file)} ] || {{ set -a; . {quote(self.proxy_file)}; set +a; }}\n"
            get = f"curl -fsSL --max-time 60 --max-filesize 1048576 -o {quote(key)} {quote(self.key)}\n"
            yield Run((proxy if self.proxy_file else "") + get, timeout=90)
        yield Run(
            _KEY.format(
                key=quote(key),
                keyring=quote(self.keyring),
                folder=quote(posixpath.dirname(self.keyring)),
                wanted=quote(self.fingerprint),
            )
        )
        yield from self.sources.steps(change)
        refresh = (
            f"-o Dir::Etc::sourcelist={quote(self.sources.path)} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
        )
        script = f"{APT}apt update {refresh} 2>&1\n"
        yield Job(f"apt-update-{sha256(self.name)[:12]}", script, progress=apt_progress, timeout=900)


def key_at(name: str, find: Callable[[str], Path | None]) -> str | Path:
    """A key that a setting names: an address, or a file of the control machine.

    Raises:
        ValueError: it is neither.
    """
    key = name if "://" in name else find(name)
    if key is None:
        raise ValueError(f"the key {name} is neither an address nor a file beside the inventory")
    return key


_KEY = """\
umask 022
command -v gpg >/dev/null || {{ echo 'gpg is not installed, so the key cannot be compared' >&2; exit 1; }}
found=$(gpg --batch --show-keys --with-colons {key} 2>/dev/null |
    awk -F: '$1 == "pub" {{ p = 1 }} $1 == "fpr" && p {{ printf "%s ", $10; p = 0 }}')
if [ "$found" != {wanted}' ' ]; then
    rm -f {key}
    found=${{found% }}
    echo "the key has the fingerprint ${{found:-of nothing}}, expected is "{wanted} >&2
    exit 1
fi
expired=$(gpg --batch --show-keys --with-colons {key} 2>/dev/null | awk -F: '$1 == "pub" && $2 == "e" {{ print $7 }}')
if [ -n "$expired" ]; then
    rm -f {key}
    echo "the key expired on $(date -d "@$expired" +%Y-%m-%d): give the repository's current one," \
        "or set the host's clock, which says $(date +%Y-%m-%d)" >&2
    exit 1
fi
mkdir -p {folder}
if grep -q 'BEGIN PGP' {key}; then gpg --batch --yes --dearmor -o {keyring} {key}; else cp {key} {keyring}; fi || exit 1
rm -f {key}
chmod 0644 {keyring}
"""
