"""A CA certificate that a host trusts."""

from collections.abc import Iterator
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.file import File
from provision.resources.look import Found, Look, seen
from provision.values import quote


@dataclass(frozen=True)
class Store:
    """Where a family keeps certificates.

    Args:
        folder: of those that an administrator adds.
        update: the command that makes the rest from it.
        bundle: the file with all of them; for Debian the folder of links to them, which names say more.
    """

    folder: str
    update: str
    bundle: str


STORES = {
    "debian": Store("/usr/local/share/ca-certificates", "update-ca-certificates", "/etc/ssl/certs"),
    "redhat": Store(
        "/etc/pki/ca-trust/source/anchors", "update-ca-trust", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
    ),
    "suse": Store("/etc/pki/trust/anchors", "update-ca-certificates", "/var/lib/ca-certificates/ca-bundle.pem"),
    "arch": Store(
        "/etc/ca-certificates/trust-source/anchors",
        "update-ca-trust",
        "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    ),
}


@dataclass(frozen=True)
class Certificates:
    """A PEM file in the system's store, and the store's bundle made anew when it changes.

    Args:
        name: of the file, without suffix.
        pem: its text.
        family: `host.identity.os.family`.
    """

    name: str
    pem: str = field(repr=False)
    family: str = "debian"

    @property
    def id(self) -> str:
        """`ca:NAME`."""
        return f"ca:{self.name}"

    @property
    def store(self) -> Store:
        """The family's."""
        return STORES[self.family]

    @property
    def file(self) -> File:
        """Where the certificate is kept."""
        return File(f"{self.store.folder}/{self.name}.crt", self.pem)

    def probe(self) -> str:
        """Whether the bundle has it, then the file."""
        return Look.among(f"if {self._known()}; then echo known; else echo new; fi", self.file.probe())

    def _known(self) -> str:
        if self.family == "debian":
            return f"[ -e {quote(f'{self.store.bundle}/{self.name}.pem')} ]"
        # A bundle is written anew, with 64 characters a line: the last whole line is of the signature.
        lines = [quote(line) for line in last_lines(self.pem)]
        return " && ".join(f"grep -qxF -- {line} {self.store.bundle} 2>/dev/null" for line in lines) or "false"

    def observe(self, section: Section) -> tuple[Found, bool]:
        """The file, and whether the index knows it.

        Raises:
            ValueError: the answer cannot be understood.
        """
        head, _, rest = section.out.partition(b"\n")
        return seen(Section(section.rc, rest, section.err)), head == b"known"

    def plan(self, observed: tuple[Found, bool], pending: Pending) -> Change | None:
        """`trust`."""
        found, known = observed
        change = self.file.plan(found, pending)
        if change is None and known:
            return None
        why = change.why if change else "not in the system's store"
        return Change(self.id, "trust", why, diffs=change.diffs if change else ())

    def steps(self, change: Change) -> Iterator[Step]:
        """Write it, and make the index."""
        yield from self.file.steps(change)
        yield Run(f"{self.store.update} >/dev/null\n")


def last_lines(pem: str) -> list[str]:
    """Of each certificate in a PEM text the last line of 64 characters, as every bundle has it."""
    found = []
    for part in pem.split("-----BEGIN CERTIFICATE-----")[1:]:
        body = "".join(part.partition("-----END")[0].split())
        if whole := len(body) // 64:
            found.append(body[(whole - 1) * 64 : whole * 64])
    return found
