"""Packages of the distribution: installed, never upgraded or removed by the way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from provision.resources.base import Change, Job, Pending, Resource, Section, Step, Together
from provision.resources.managers import manager
from provision.values import sha256


class Asked(Together):
    """A probe: which of these names are installed. Each question reads the manager's whole database.

    Args:
        name: of the manager.
        names: of packages.
        then: a fragment that prints more.
    """

    names: tuple[str, ...]
    _then: str

    def __new__(cls, name: str, names: Iterable[str], then: str = "") -> Self:
        """The fragment that works alone."""
        found = tuple(names)
        made = super().__new__(cls, manager(name).asked(found) + then)
        made.key, made.names, made._then = name, found, then
        return made

    @classmethod
    def prepare(cls, asked: Sequence[Together]) -> str:
        """One question for all."""
        names = dict.fromkeys(name for one in asked if isinstance(one, Asked) for name in one.names)
        said = manager(asked[0].key).asked(names)
        return f'said=$(\n{said})\nrc=$?\nanswer() {{\n    printf "%s\\n" "$said"\n    return "$rc"\n}}\n'

    def shared(self) -> str:
        """The answer to all; others' names in it do no harm."""
        return f"answer\n{self._then}"


@dataclass(frozen=True)
class Package:
    """These packages are installed, in whatever version the distribution has.

    Args:
        names: package names. `curl|curl-minimal` is one of the two: the first is installed where none is.
        manager: `host.identity.package_manager`: `apt`, `dnf`, `dnf5`, `zypper` or `pacman`.
        after: resources (repositories) whose change makes other packages available.
    """

    names: tuple[str, ...]
    manager: str = "apt"
    after: tuple[Resource, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`package:NAME+NAME`."""
        return f"package:{'+'.join(names[0] for names in self.choices)}"

    @property
    def choices(self) -> tuple[tuple[str, ...], ...]:
        """For each package its names, of which one must be installed."""
        return tuple(tuple(name.split("|")) for name in self.names)

    def probe(self) -> str:
        """The manager's query, once for all names."""
        return Asked(self.manager, (name for names in self.choices for name in names))

    def observe(self, section: Section) -> dict[str, str]:
        """Name -> version of those that are installed.

        Raises:
            ValueError: the host does not have this package manager.
        """
        if section.rc:
            raise ValueError(f"{manager(self.manager).tool} is not there")
        words = [line.split() for line in section.lines]
        # Others may have been asked for in the same question.
        own = {name for names in self.choices for name in names}
        return {line[0]: line[2] for line in words if len(line) == 3 and line[1] == "installed" and line[0] in own}

    def plan(self, observed: dict[str, str], pending: Pending) -> Change | None:
        """`install` what is missing."""
        missing = [names[0] for names in self.choices if not observed.keys() & names]
        if not missing:
            return None
        return Change(self.id, "install", "not installed", after={"packages": missing}, private=tuple(missing))

    def steps(self, change: Change) -> Iterator[Step]:
        """One job: with the lists that are there, and again with new ones when that fails."""
        names, using = change.after["packages"], manager(self.manager)
        name = f"{using.name}-{sha256(' '.join(names))[:12]}"
        yield Job(name, using.installing(names), progress=using.progress, timeout=3600)
