"""A CA certificate that a host trusts."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.file import File, Found, look, seen

FOLDER = "/usr/local/share/ca-certificates"
LINKS = "/etc/ssl/certs"


@dataclass(frozen=True)
class Certificates:
    """A PEM file in the system's store, and the store's index made anew when it changes."""

    name: str
    pem: str = field(repr=False)

    @property
    def id(self) -> str:
        """`ca:NAME`."""
        return f"ca:{self.name}"

    @property
    def file(self) -> File:
        """Where the certificate is kept."""
        return File(f"{FOLDER}/{self.name}.crt", self.pem)

    def probe(self) -> str:
        """The file, and whether the index knows it."""
        return f"[ -e {LINKS}/{self.name}.pem ] && echo known || echo new\n{look(self.file.path, content=True)}"

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
        yield Run("update-ca-certificates >/dev/null\n")
