"""A package repository: a file of ours (deb822, or `.repo` of dnf and zypper), and its key, pinned by fingerprint."""

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Literal

from provision.dataclass import dataclass
from provision.resources.base import Change, Diff, Job, Pending, Run, Section, Step, Upload
from provision.resources.file import INCOMING, File
from provision.resources.look import Found, Look, seen
from provision.resources.managers import apt_progress, manager, shell
from provision.resources.package import Asked
from provision.values import quote, sha256

SOURCES = "/etc/apt/sources.list.d"
KEYRINGS = "/etc/apt/keyrings"
# dnf's and zypper's.
FOLDERS = {"dnf": "/etc/yum.repos.d", "dnf5": "/etc/yum.repos.d", "zypper": "/etc/zypp/repos.d"}
RPM_KEYS = "/etc/pki/rpm-gpg"


@dataclass(frozen=True)
class Listed:
    """What is there: our file, the fingerprints of the keys in the keyring, older files that name the same address.

    `imported` are the keys that rpm trusts, by the ends of their fingerprints. `expired`: a key in the keyring is.
    """

    file: Found
    fingerprints: tuple[str, ...]
    rivals: tuple[str, ...]
    imported: tuple[str, ...] = ()
    expired: bool = False


@dataclass(frozen=True)
class Repository:
    """A repository and the one key that signs it.

    Args:
        name: file name of the sources and the keyring, without suffix.
        uri: base address.
        suites: of apt: `stable`, a code name, or `/` for a flat repository.
        components: of apt: none for a flat repository.
        key: address of the key, or a file of the control machine.
        fingerprint: of its primary key, 40 hex digits. A keyring with any other primary key is refused.
        architecture: as dpkg says it; with rpm it is a part of the address.
        proxy_file: a file of shell assignments (`HTTPS_PROXY=...`) that the download of the key reads, if it exists.
        manager: `apt`, `dnf`, `dnf5` or `zypper`. pacman's repositories have all that is needed.
        signed: whether the key signs the `packages` or only the `metadata` that holds their digests (of rpm).
    """

    name: str
    uri: str
    suites: str
    components: str
    key: str | Path
    fingerprint: str
    architecture: str = ""
    proxy_file: str = field(default="", repr=False)
    manager: str = "apt"
    signed: Literal["packages", "metadata"] = "packages"

    @property
    def id(self) -> str:
        """`repository:NAME`."""
        return f"repository:{self.name}"

    @property
    def keyring(self) -> str:
        """Where the key is kept."""
        return f"{KEYRINGS}/{self.name}.gpg" if self.manager == "apt" else f"{RPM_KEYS}/provision-{self.name}.asc"

    @property
    def sources(self) -> File:
        """Our file."""
        if self.manager != "apt":
            return File(f"{FOLDERS[self.manager]}/{self.name}.repo", self._repo())
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

    def _repo(self) -> str:
        packages = self.signed == "packages"
        fields = {
            "name": self.name,
            "baseurl": self.uri,
            "enabled": "1",
            "gpgcheck": "1" if packages or self.manager == "zypper" else "0",
            "repo_gpgcheck": "0" if packages else "1",
            "gpgkey": f"file://{self.keyring}",
        }
        if self.manager == "zypper":
            fields |= {"pkg_gpgcheck": "1" if packages else "0", "autorefresh": "1"}
        return f"[{self.name}]\n" + "".join(f"{key}={value}\n" for key, value in fields.items())

    def probe(self) -> str:
        """Our file, then the keyring's fingerprints, then other files that name the address."""
        keys = (
            f"gpg --batch --show-keys --with-colons {quote(self.keyring)} 2>/dev/null |\n"
            '  awk -F: \'$1 == "pub" { p = 1; if ($2 == "e") print "expired=" } '
            '$1 == "fpr" && p { print "fpr=" $10; p = 0 }\'\n'
        )
        rivals = f"grep -lE {quote(self._named)} {self._others} 2>/dev/null\necho --\n"
        look = self.sources.probe()
        if self.manager == "apt":
            return Look.among(keys, rivals, look)
        # rpm keeps the keys that it trusts as packages.
        return Asked(self.manager, ("gpg-pubkey",), then=f"{keys}{rivals}(\n{look})\n")

    @property
    def _named(self) -> str:
        """An ERE of lines that name our address and are no comment; of apt also with $(ARCH), as NVIDIA's has it."""
        bare = self.uri.rstrip("/").partition("://")[2]
        ways = [bare, re.sub("/(amd64|arm64)$", "/$(ARCH)", bare)]
        escaped = (re.sub(r"([][.*^$+?(){}|\\])", r"\\\1", way) for way in dict.fromkeys(ways))
        return f"^[^#]*://({'|'.join(escaped)})/?([[:space:]]|$)"

    @property
    def _others(self) -> str:
        if self.manager == "apt":
            return f"{SOURCES}/*.list {SOURCES}/*.sources /etc/apt/sources.list"
        return f"{FOLDERS[self.manager]}/*.repo"

    def observe(self, section: Section) -> Listed:
        """What is there.

        Raises:
            ValueError: the answer cannot be understood.
        """
        head, _, rest = section.out.partition(b"--\n")
        lines = head.decode("utf-8", "replace").splitlines()
        rivals = (line for line in lines if line.startswith("/") and line != self.sources.path)
        prints = (line.removeprefix("fpr=") for line in lines if line.startswith("fpr="))
        imported = re.findall(r"^gpg-pubkey installed (\w+)-", head.decode("utf-8", "replace"), re.MULTILINE)
        found = seen(Section(section.rc, rest, section.err))
        ends = tuple(end.upper() for end in imported)
        return Listed(found, tuple(prints), tuple(rivals), ends, "expired=" in lines)

    def plan(self, observed: Listed, pending: Pending) -> Change | None:
        """`create` or `update`, also in place of older files that name the same address.

        Beside such a one apt refuses every work ("Conflicting values set for option Signed-By").
        """
        # Owners make their keys last longer under the same fingerprint: the current one is fetched.
        key_is_right = observed.fingerprints == (self.fingerprint,) and not observed.expired
        if self.manager != "apt":
            # rpm names a key by the last 8 digits of its fingerprint, from rpm 6 on by all 40.
            key_is_right &= any(len(end) >= 8 and self.fingerprint.endswith(end) for end in observed.imported)
        change = self.sources.plan(observed.file, pending)
        if change is None and key_is_right and not observed.rivals:
            return None
        held = "a key that expired" if observed.expired else " ".join(observed.fingerprints) or "no key"
        why = change.why if change else "" if key_is_right else f"its keyring holds {held}"
        older = f"in place of {', '.join(observed.rivals)}" if observed.rivals else ""
        diffs: tuple[Diff, ...] = change.diffs if change else ()
        action = "create" if observed.file.kind == "missing" else "update"
        return Change(
            self.id,
            action,
            ", ".join(filter(None, (why, older))),
            after={"uri": self.uri, "key": self.fingerprint},
            diffs=diffs,
            private=observed.rivals,
        )

    def steps(self, change: Change) -> Iterator[Step]:
        """The key first, then the file in place of older ones, then this repository's package lists."""
        key = f"{INCOMING}/{self.name}.key"
        older = " ".join(map(quote, change.private or ()))
        if older:
            yield Run(_ALONE.format(files=older, named=quote(self._named)))
        yield Run(f"umask 077\nmkdir -p {INCOMING}\n")
        if isinstance(self.key, Path):
            yield Upload(key, self.key)
        else:
            file = quote(self.proxy_file)
            proxy = f'[ ! -r {file} ] || {{ set -a; . {file}; export http_proxy="${{HTTP_PROXY-}}"; set +a; }}\n'
            get = f"curl -fsSL --max-time 60 --max-filesize 1048576 -o {quote(key)} {quote(self.key)}\n"
            yield Run((proxy if self.proxy_file else "") + get, timeout=90)
        yield Run(
            _KEY.format(
                key=quote(key),
                keyring=quote(self.keyring),
                folder=quote(posixpath.dirname(self.keyring)),
                wanted=quote(self.fingerprint),
                keep=(_BINARY if self.manager == "apt" else "cp {key} {keyring}").format(
                    key=quote(key), keyring=quote(self.keyring)
                ),
            )
        )
        if older:
            # What is called so neither apt nor dnf nor zypper reads, or mentions.
            yield Run(f'set -- {older}\nfor f; do mv -f -- "$f" "$f.disabled" || exit 1; done\n')
        yield from self.sources.steps(change)
        if self.manager == "apt":
            where = f"-o Dir::Etc::sourcelist={quote(self.sources.path)} -o Dir::Etc::sourceparts=-"
            script = f"{shell('apt-get')}apt update {where} -o APT::Get::List-Cleanup=0 2>&1\n"
            yield Job(f"apt-update-{sha256(self.name)[:12]}", script, progress=apt_progress, timeout=900)
            return
        # Only now: rpm trusts a key for every repository.
        yield Run(f"rpmkeys --import {quote(self.keyring)}\n")
        using = manager(self.manager)
        name = f"refresh-{sha256(self.name)[:12]}"
        yield Job(name, using.refreshing(self.name), progress=using.progress, timeout=900)


def rpm_arch(arch: str) -> str:
    """`x86_64` for `amd64`."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch)


def key_at(name: str, find: Callable[[str], Path | None]) -> str | Path:
    """A key that a setting names: an address, or a file of the control machine.

    Raises:
        ValueError: it is neither.
    """
    key = name if "://" in name else find(name)
    if key is None:
        raise ValueError(f"the key {name} is neither an address nor a file beside the inventory")
    return key


_ALONE = """\
set -- {files}
for f; do
    grep -E '^[[:space:]]*(deb|deb-src)[[:space:]]|^(URIs|baseurl|mirrorlist|metalink)[[:space:]]*[:=]' "$f" |
        grep -qvE {named} || continue
    echo "$f names the same repository beside others: take its lines out there" >&2
    exit 1
done
"""

_KEY = """\
umask 022
command -v gpg >/dev/null || {{ echo 'gpg is not installed, so the key cannot be compared' >&2; exit 1; }}
found=$(gpg --batch --show-keys --with-colons {key} 2>/dev/null |
    awk -F: '$1 == "pub" {{ p = 1 }} $1 == "fpr" && p {{ printf "%s ", $10; p = 0 }}')
wanted={wanted}
if [ "$found" != "$wanted " ]; then
    rm -f {key}
    found=${{found% }}
    echo "the key has the fingerprint ${{found:-of nothing}}, expected is $wanted: ask its owner which is right" >&2
    exit 1
fi
expired=$(gpg --batch --show-keys --with-colons {key} 2>/dev/null | awk -F: '$1 == "pub" && $2 == "e" {{ print $7 }}')
if [ -n "$expired" ]; then
    rm -f {key}
    ended=$(date -d "@$expired" +%Y-%m-%d) today=$(date +%Y-%m-%d)
    echo "the key expired on $ended: give the repository's current one, or set the host's clock, which says $today" >&2
    exit 1
fi
mkdir -p {folder}
{keep} || exit 1
rm -f {key}
chmod 0644 {keyring}
"""

# apt wants it in binary form; rpm reads it as text.
_BINARY = """\
{{
    if grep -q 'BEGIN PGP' {key}; then gpg --batch --yes --dearmor -o {keyring} {key}; else cp {key} {keyring}; fi
}}"""
