"""Checks of the system: packages, files with their content, users and groups."""

from collections.abc import Iterator

from provision.dataclass import dataclass
from provision.resources.base import Section
from provision.resources.file import Directory, File
from provision.resources.user import Group, User
from provision.values import quote
from provision.verify.check import Check, Verdict


@dataclass(frozen=True)
class Packages(Check):
    """These packages are installed, as the package database itself says; `a|b` is one of the two."""

    names: tuple[str, ...]
    manager: str = "apt"
    name = "packages"

    def question(self) -> str:
        """`NAME STATUS` of each that is there: `dpkg-query -s`, all of rpm's database, or pacman's own files."""
        if self.manager != "apt":
            return _LISTED["pacman" if self.manager == "pacman" else "rpm"]
        words = " ".join(quote(name) for names in self.names for name in names.split("|"))
        return f"dpkg-query -s {words} 2>/dev/null | {_STATUS}"

    def judge(self, answer: Section) -> Verdict:
        """Each name with a status that says installed."""
        found = dict(line.partition(" ")[::2] for line in answer.lines)
        there = {name for name, status in found.items() if status.strip() in _INSTALLED}
        wrong = [name for name in self.names if not there.intersection(name.split("|"))]
        return Verdict.of([f"not installed: {', '.join(wrong)}"] if wrong else [], f"{len(self.names)} installed")


# One process for all: each reads dpkg's whole database. A name may be asked for with its architecture.
_STATUS = """\
awk '/^Package: / { name = $2 }
/^Status: / { status = $2 " " $3 " " $4; print name, status }
/^Architecture: / { print name ":" $2, status }'
"""
_LISTED = {
    "rpm": "rpm -qa --qf '%{NAME} installed\\n'\n",
    "pacman": "sed -n '/^%NAME%$/{n;s/$/ installed/p;}' /var/lib/pacman/local/*/desc\n",
}
_INSTALLED = ("install ok installed", "hold ok installed", "installed")


@dataclass(frozen=True)
class Files(Check):
    """Files and directories are there, with their owner, mode and content."""

    items: tuple[File | Directory, ...]
    name = "files"
    timeout = 120.0

    def question(self) -> str:
        """One `find` on all paths themselves: type, mode, owner, group, path; then one `sha256sum` of all files."""
        paths = " ".join(quote(_asked(item)) for item in self.items)
        files = " ".join(quote(item.path) for item in self.items if isinstance(item, File))
        lines = [f"find {paths} -prune -printf '%y %m %u %g %p\\n' 2>/dev/null", "echo"]
        lines += [f"sha256sum -- {files} 2>/dev/null"] if files else []
        return "\n".join((*lines, "echo end\n"))

    def judge(self, answer: Section) -> Verdict:
        """Type, mode, owner and group of each; the content of files."""
        if answer.lines[-1:] != ["end"]:
            raise ValueError("find gave no answer")
        listed, _, summed = answer.text.removesuffix("end\n").partition("\n\n")
        found = {path: words for *words, path in (line.split(" ", 4) for line in listed.splitlines())}
        sums = dict(_sum(line) for line in summed.splitlines())
        complaints: list[str] = []
        for item in self.items:
            text = _wrong(item, found.get(_asked(item), []))
            if not text and isinstance(item, File) and sums.get(item.path) != item.digest:
                text = f"{item.path} has another content than declared"
            complaints += [text] if text else []
        return Verdict.of(complaints, f"{len(self.items)} as declared")


def _asked(item: File | Directory) -> str:
    """A path for `find`: what a link leads to counts as a directory, but not as a file."""
    return f"{item.path.rstrip('/')}/." if isinstance(item, Directory) else item.path


def _sum(line: str) -> tuple[str, str]:
    """Path and digest in a line of `sha256sum`, which marks a name that it had to escape."""
    digest, _, path = line.partition("  ")
    return (path.replace("\\\\", "\\"), digest[1:]) if digest.startswith("\\") else (path, digest)


def _wrong(item: File | Directory, found: list[str]) -> str:
    if len(found) != 4:
        return f"{item.path} is not there"
    kind, mode, owner, group = found
    if kind != ("d" if isinstance(item, Directory) else "f"):
        return f"{item.path} is no {'directory' if isinstance(item, Directory) else 'file'}"
    if mode.zfill(4) != item.mode:
        return f"{item.path} has mode {mode.zfill(4)}, not {item.mode}"
    if (owner, group) != (item.owner, item.group):
        return f"{item.path} belongs to {owner}:{group}, not {item.owner}:{item.group}"
    return ""


@dataclass(frozen=True)
class Users(Check):
    """Users exist with their home and in their groups; groups exist."""

    users: tuple[User, ...]
    groups: tuple[Group, ...] = ()
    name = "users"

    def question(self) -> str:
        """`getent` of all, `id` of each: `user NAME HOME`, `in NAME GROUP...`, `group NAME`."""
        names = " ".join(quote(one.name) for one in self.users)
        groups = " ".join(quote(one.name) for one in self.groups)
        return _USERS.format(users=names, groups=groups)

    def judge(self, answer: Section) -> Verdict:
        """Each of them."""
        if answer.lines[-1:] != ["end"]:
            raise ValueError("getent gave no answer")
        homes, member, groups = (
            {words[1]: words[2:] for line in answer.lines if (words := line.split()) and words[0] == kind and words[1:]}
            for kind in ("user", "in", "group")
        )
        complaints = [text for user in self.users for text in _user(user, homes.get(user.name), member)]
        complaints += [f"there is no group {one.name}" for one in self.groups if one.name not in groups]
        return Verdict.of(complaints, f"{len(self.users) + len(self.groups)} as declared")


def _user(user: User, home: list[str] | None, member: dict[str, list[str]]) -> Iterator[str]:
    if home is None:
        yield f"there is no user {user.name}"
        return
    if home != [user.home]:
        yield f"the home of {user.name} is {' '.join(home)}, not {user.home}"
    if missing := [group for group in user.groups if group not in member.get(user.name, [])]:
        yield f"{user.name} is not in the group {', '.join(missing)}"


_USERS = """\
set -- {users}
[ $# = 0 ] || getent passwd -- "$@" | while IFS=: read -r name _ _ _ _ home _; do
    printf 'user %s %s\\n' "$name" "$home"
done
for u; do printf 'in %s %s\\n' "$u" "$(id -Gn -- "$u" 2>/dev/null)"; done
set -- {groups}
[ $# = 0 ] || getent group -- "$@" | while IFS=: read -r name _; do echo "group $name"; done
echo end
"""
