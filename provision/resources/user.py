"""System users and groups."""

from collections.abc import Iterator

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.values import quote

_PEOPLE = 1000


@dataclass(frozen=True)
class Account:
    """What is there: whether the user exists, its number, home and shell, the groups it is in."""

    exists: bool
    home: str = ""
    shell: str = ""
    groups: frozenset[str] = frozenset()
    number: int = 0

    @property
    def person(self) -> bool:
        """Whether somebody logs in as it: numbers of system accounts are below 1000 (login.defs(5): UID_MIN)."""
        return self.number >= _PEOPLE and not self.shell.endswith(("/nologin", "/false"))


@dataclass(frozen=True)
class Group:
    """A system group.

    Args:
        name: of it.
        number: it gets this one when it is made; None: any.
    """

    name: str
    number: int | None = None

    @property
    def id(self) -> str:
        """`group:NAME`."""
        return f"group:{self.name}"

    def probe(self) -> str:
        """`getent group`."""
        return f"getent group {quote(self.name)} || :\n"

    def observe(self, section: Section) -> bool:
        """Whether it exists."""
        return bool(section.text.strip())

    def plan(self, observed: bool, pending: Pending) -> Change | None:
        """`create`."""
        return None if observed else Change(self.id, "create", "not there", after={"name": self.name})

    def steps(self, change: Change) -> Iterator[Step]:
        """One command."""
        number = "" if self.number is None else f"--gid {self.number} "
        yield Run(f"groupadd --system {number}{quote(self.name)}\n")


@dataclass(frozen=True)
class User:
    """A system user with a group of its own name.

    Args:
        name: also its group's.
        home: its home directory; made, 0755, when the user is made.
        groups: it is in these too; groups that it is in beside them are left.
    """

    name: str
    home: str
    groups: tuple[str, ...] = ()
    shell: str = "/usr/sbin/nologin"

    @property
    def id(self) -> str:
        """`user:NAME`."""
        return f"user:{self.name}"

    def probe(self) -> str:
        """`getent passwd`, then the groups."""
        return f"getent passwd {quote(self.name)} && id -nG {quote(self.name)} || :\n"

    def observe(self, section: Section) -> Account:
        """What is there.

        Raises:
            ValueError: the answer is no passwd entry.
        """
        if not section.lines:
            return Account(False)
        fields = section.lines[0].split(":")
        if len(fields) != 7:
            raise ValueError(f"not a passwd entry: {section.lines[0][:80]!r}")
        groups = section.lines[1].split() if len(section.lines) > 1 else []
        number = int(fields[2]) if fields[2].isdecimal() else 0
        return Account(True, fields[5], fields[6], frozenset(groups), number)

    def plan(self, observed: Account, pending: Pending) -> Change | None:
        """`create`, or `update` of home and groups. A shell that differs is left: it may have been given on purpose.

        Raises:
            ValueError: it is a person's account.
        """
        wanted = {"home": self.home, "groups": list(self.groups)}
        if not observed.exists:
            return Change(self.id, "create", "not there", after=wanted)
        if observed.person and observed.home != self.home:
            raise ValueError(
                f"the account {self.name} is a person's (number {observed.number}, home {observed.home}, shell "
                f"{observed.shell}), a service needs that name: rename the person's (usermod --login)"
            )
        missing = [group for group in self.groups if group not in observed.groups]
        if observed.home == self.home and not missing:
            return None
        why = f"home is {observed.home}" if observed.home != self.home else f"not in {', '.join(missing)}"
        before = {"home": observed.home, "groups": sorted(observed.groups)}
        return Change(self.id, "update", why, before, wanted)

    def steps(self, change: Change) -> Iterator[Step]:
        """One command."""
        name, home = quote(self.name), quote(self.home)
        groups = f" --groups {quote(','.join(self.groups))}" if self.groups else ""
        if change.action == "create":
            options = f"--system --home-dir {home} --create-home --shell {quote(self.shell)}{groups}"
            group = f"getent group {name} >/dev/null && g='--gid {self.name}' || g=--user-group\n"
            yield Run(f"umask 022\n{group}useradd {options} $g {name}\n")
        else:
            yield Run(f"usermod --home {home}{' --append' if groups else ''}{groups} {name}\n")
