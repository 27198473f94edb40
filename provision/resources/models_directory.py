"""Ollama's model store as a directory: its owner's, and reachable through all its parents."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.look import Found, Look, seen
from provision.resources.selinux import relabelled
from provision.values import quote


@dataclass(frozen=True)
class Store:
    """The directory, the parents that others cannot pass, and whether an entry belongs to somebody else."""

    directory: Found
    closed: tuple[str, ...]
    foreign: bool


@dataclass(frozen=True)
class ModelsDirectory:
    """The directory and what is in it belong to the server's user, and every parent has the x bit for others.

    A store that another program filled (install.sh, a server run by hand) is taken over with its models
    (ollama#2147, #2701, #16378).
    """

    path: str
    owner: str
    group: str

    @property
    def id(self) -> str:
        """`models-directory:PATH`."""
        return f"models-directory:{self.path}"

    def probe(self) -> str:
        """The directory, its parents' bits, whose its entries are: they are few, however large."""
        path = quote(self.path)
        parents = " ".join(quote(str(parent)) for parent in PurePosixPath(self.path).parents[:-1])
        # find says nothing on its standard output where there is no such directory or user.
        foreign = f'[ -z "$(find {path}/ ! -user {quote(self.owner)} 2>/dev/null)" ] || echo foreign'
        bits = f'stat -c "%A %n" -- {parents} 2>/dev/null' if parents else ":"
        return Look.among(bits, foreign, "echo --", Look(self.path.rstrip("/") + "/."))

    def observe(self, section: Section) -> Store:
        """What is there.

        Raises:
            ValueError: the answer cannot be understood.
        """
        head, _, rest = section.out.partition(b"--\n")
        lines = head.decode("utf-8", "replace").splitlines()
        bits = (line.partition(" ") for line in lines if line != "foreign")
        closed = tuple(name for mode, _, name in bits if not mode.endswith(("x", "t")))
        return Store(seen(Section(section.rc, rest, section.err)), closed, "foreign" in lines)

    def plan(self, observed: Store, pending: Pending) -> Change | None:
        """`create` or `update`."""
        after = {"owner": self.owner, "group": self.group}
        reasons = []
        if observed.directory.kind != "directory":
            reasons.append("not there")
        elif (observed.directory.owner, observed.directory.group) != (self.owner, self.group) or observed.foreign:
            reasons.append(f"not all of it belongs to {self.owner}: its models are kept")
        if observed.closed:
            reasons.append(f"{self.owner} cannot pass {', '.join(observed.closed)}")
        if not reasons:
            return None
        if observed.directory.kind != "directory":
            return Change(self.id, "create", "; ".join(reasons), after=after)
        return Change(self.id, "update", "; ".join(reasons), {"owner": observed.directory.owner}, after)

    def steps(self, change: Change) -> Iterator[Step]:
        """One script. Owners are changed only where they differ: a store has terabytes, but few entries."""
        path = quote(self.path)
        owner = quote(f"{self.owner}:{self.group}")
        yield Run(
            f"umask 022\nmkdir -p {path} || exit 1\n"
            f"find {path}/ \\( ! -user {quote(self.owner)} -o ! -group {quote(self.group)} \\) "
            f"-exec chown -h {owner} {{}} + || exit 1\nchmod u+rwx {path}\n"
            f'd=$(dirname -- {path})\nwhile [ "$d" != / ]; do\n'
            '  case $(stat -c %A -- "$d") in *x | *t) ;; *) chmod o+x -- "$d" || exit 1 ;; esac\n'
            '  d=$(dirname -- "$d")\ndone\n' + relabelled(path),
            timeout=600,
        )
