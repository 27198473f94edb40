"""Host keys: what `known_hosts` says, in OpenSSH's format, and how a line is added to it."""

import base64
import binascii
import fcntl
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from provision.dataclass import dataclass

_MOST = 16 << 20


@dataclass(frozen=True)
class KnownKey:
    """One line of a `known_hosts` file. `marker` is empty, `@revoked` or `@cert-authority`."""

    marker: str
    names: str
    kind: str
    blob: bytes
    where: str

    def covers(self, name: str) -> bool:
        """Whether the line is about this host, given as `host` or `[host]:port`."""
        if self.names.startswith("|1|"):
            return _hash_matches(self.names, name)
        patterns = self.names.lower().split(",")
        if any(_glob(pattern[1:], name) for pattern in patterns if pattern.startswith("!")):
            return False
        return any(_glob(pattern, name) for pattern in patterns if not pattern.startswith("!"))


def _glob(pattern: str, name: str) -> bool:
    # In known_hosts only * and ? are special; [host]:port is meant literally.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(names: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in names.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def name_for(host: str, port: int) -> str:
    """A host as `known_hosts` writes it: `host`, or `[host]:port` where the port is not 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def fingerprint(blob: bytes) -> str:
    """`SHA256:...` of a public key, as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def read(files: Iterable[Path]) -> list[KnownKey]:
    """The keys of these files; those that are missing or unreadable count as empty, broken lines are passed over."""
    found = []
    for file in files:
        try:
            with file.open("rb") as stream:
                lines = stream.read(_MOST).decode("utf-8", "replace").splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            if key := _parse(line, f"{file}:{number}"):
                found.append(key)
    return found


def _parse(line: str, where: str) -> KnownKey | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#"):
        return None
    try:
        return KnownKey(marker, words[0], words[1], base64.b64decode(words[2], validate=True), where)
    except (ValueError, binascii.Error):
        return None


@dataclass(frozen=True)
class Verdict:
    """What `known_hosts` says of an offered key: `known`, `unknown`, `changed` or `revoked`, and the other lines."""

    word: str
    others: tuple[KnownKey, ...] = ()


class KnownHosts:
    """The lines about one host, from the user's and the machine's files.

    Args:
        name: as `name_for` gives it.
        files: the user's first; a new key is added to the first one.
    """

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self.name = name
        self.files = tuple(files)
        self.lines = [key for key in read(files) if key.covers(name)]

    @property
    def kinds(self) -> list[str]:
        """The types of the keys that are known, so that the host is asked for one of these."""
        return list(dict.fromkeys(key.kind for key in self.lines if not key.marker))

    def judge(self, kind: str, blob: bytes) -> Verdict:
        """What to think of the key that the host offers. Certificates are not looked at."""
        same = [key for key in self.lines if key.blob == blob]
        if any(key.marker == "@revoked" for key in same):
            return Verdict("revoked", tuple(same))
        if any(not key.marker for key in same):
            return Verdict("known")
        plain = [key for key in self.lines if not key.marker]
        rivals = tuple(key for key in plain if key.kind == kind)
        return Verdict("changed", rivals) if rivals else Verdict("unknown", tuple(plain))

    def add(self, kind: str, blob: bytes) -> Path:
        """Append the key to the first file (0600; its directory 0700 when new). Returns the file.

        Raises:
            OSError: it cannot be written.
        """
        file = self.files[0]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = f"{self.name} {kind} {base64.b64encode(blob).decode()}\n".encode()
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            size = stream.seek(0, os.SEEK_END)
            if size:
                stream.seek(size - 1)
                if stream.read(1) != b"\n":
                    line = b"\n" + line
            stream.write(line)
        return file
