"""Packages of the distribution: installed, never upgraded or removed by the way."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.resources.base import Change, Job, Pending, Progress, Resource, Section, Step
from provision.values import printable, quote, sha256

LOCK_WAIT = 600
"""Seconds to wait for another package manager, such as unattended-upgrades after boot."""

# --no-remove: installing one thing never takes another away. needrestart restarts services by itself on Ubuntu 24.04
# unless it is told to list only.
APT = f"""\
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none LC_ALL=C
apt() {{
    apt-get -q -y -o DPkg::Lock::Timeout={LOCK_WAIT} -o Acquire::Retries=3 \\
        -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@"
}}
"""


@dataclass(frozen=True)
class Package:
    """These packages are installed, in whatever version the distribution has.

    Args:
        names: package names.
        after: resources (repositories) whose change makes other packages available.
    """

    names: tuple[str, ...]
    after: tuple[Resource, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`package:NAME+NAME`."""
        return f"package:{'+'.join(self.names)}"

    def probe(self) -> str:
        """`dpkg-query`, once for all names. Names that it does not know are told on stderr."""
        names = " ".join(quote(name) for name in self.names)
        return (
            "dpkg-query -W -f='${Package} ${db:Status-Status} ${Version}\\n' " + names + " 2>/dev/null\n"
            "command -v dpkg-query >/dev/null\n"
        )

    def observe(self, section: Section) -> dict[str, str]:
        """Name -> version of those that are installed.

        Raises:
            ValueError: the host has no dpkg.
        """
        if section.rc:
            raise ValueError("dpkg-query is not there")
        words = [line.split() for line in section.lines]
        return {line[0]: line[2] for line in words if len(line) == 3 and line[1] == "installed"}

    def plan(self, observed: dict[str, str], pending: Pending) -> Change | None:
        """`install` what is missing."""
        missing = [name for name in self.names if name not in observed]
        if not missing:
            return None
        return Change(self.id, "install", "not installed", after={"packages": missing}, private=tuple(missing))

    def steps(self, change: Change) -> Iterator[Step]:
        """One job: with the lists that are there, and again with new ones when that fails."""
        names = " ".join(quote(name) for name in change.after["packages"])
        name = f"apt-{sha256(' '.join(change.after['packages']))[:12]}"
        yield Job(name, _INSTALL.format(apt=APT, names=names), progress=apt_progress, timeout=3600)


# The last line of the log is what a failure is told with: apt's own last "E:" line says only that dpkg failed.
_INSTALL = """\
{apt}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
fetch() {{ apt install --no-install-recommends --no-remove {names} 2>&1; echo "status $?"; }}
attempt() {{ fetch | tee "$log" | grep -v '^status '; tail -n 1 "$log" | grep -qx 'status 0'; }}
ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt update || exit 100
attempt && exit 0
apt update && attempt && exit 0
grep -m 1 -E '^(E:|dpkg: error|Err:)' "$log" || echo 'apt-get install failed'
exit 100
"""


def apt_progress(line: str) -> Progress | None:
    """What a line of apt's output says to a reader, among them who holds the lock."""
    text = printable(line.strip(), 160)
    if re.match(r"(Get:\d+|Unpacking|Setting up|Preparing to unpack|Waiting for cache lock)", text):
        return Progress(re.sub(r"^Get:\d+ \S+ ", "downloading ", text))
    return None
