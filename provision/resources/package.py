"""Packages of the distribution: installed, never removed, and never upgraded but where an oldest version is said."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from provision.dataclass import dataclass
from provision.resources.base import Change, Job, Pending, Section, Step, Together
from provision.resources.managers import manager, shell
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
    """These packages are installed, in whatever version the distribution has, or from `minimum` on.

    Args:
        names: package names. `curl|curl-minimal` is one of the two: the first is installed where none is.
        manager: `host.identity.package_manager`: `apt`, `dnf`, `dnf5`, `zypper` or `pacman`.
        minimum: the oldest version of all of them that will do, such as `1.18`; "" for any.
    """

    names: tuple[str, ...]
    manager: str = "apt"
    minimum: str = ""

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
        """`install` what is missing, `upgrade` what is too old."""
        missing = [names[0] for names in self.choices if not observed.keys() & names]
        oldest = _numbers(self.minimum)
        old = {name: version for name, version in observed.items() if oldest and _numbers(version) < oldest}
        names = (*missing, *old)
        if not names:
            return None
        action, why = "install", "not installed"
        if not missing:
            action, why = "upgrade", f"{min(old.values(), key=_numbers)} is installed, {self.minimum} is needed"
        return Change(self.id, action, why, after={"packages": list(names)}, private=names)

    def steps(self, change: Change) -> Iterator[Step]:
        """One job: with the lists that are there, and again with new ones when that fails."""
        names, using = change.after["packages"], manager(self.manager)
        name = f"{using.name}-{sha256(' '.join(names))[:12]}"
        # With old lists apt is content with the version that is there; the others look for newer ones themselves.
        fresh = f"{shell('apt-get')}apt update 2>&1\n" if change.action == "upgrade" and using.name == "apt" else ""
        yield Job(name, fresh + using.installing(names), progress=using.progress, timeout=3600)


def _numbers(version: str) -> tuple[int, ...]:
    """(1, 18) of `1.18`, (1, 17, 8) of `1.17.8-1`; an epoch does not count."""
    plain = re.match(r"(?:\d+:)?([\d.]*)", version)
    return tuple(int(part) for part in plain[1].split(".") if part)[:4] if plain else ()
