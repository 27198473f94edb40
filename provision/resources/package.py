"""Packages of the distribution: installed, never upgraded or removed by the way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from provision.resources.base import Change, Job, Pending, Resource, Section, Step
from provision.resources.managers import manager
from provision.values import sha256


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
        return manager(self.manager).asked(name for names in self.choices for name in names)

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


def together(packages: Iterable[Package]) -> dict[str, str]:
    """Id -> probe, of several: the same for all of one manager, so that it reads its database once."""
    found = list(packages)
    names: dict[str, dict[str, None]] = {}
    for package in found:
        names.setdefault(package.manager, {}).update(dict.fromkeys(name for one in package.choices for name in one))
    return {package.id: manager(package.manager).asked(names[package.manager]) for package in found}
