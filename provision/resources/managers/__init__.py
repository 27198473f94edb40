"""Package managers: how each is asked what is installed, and told to install. What they run lies beside, in shell.

All of them wait for another one's lock and say who holds it, remove nothing by the way, and are asked again afterwards:
a transaction that only looks successful fails.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files

from provision.dataclass import dataclass
from provision.resources.base import Progress
from provision.values import printable, quote


@dataclass(frozen=True)
class Manager:
    """One package manager.

    Args:
        name: as facts say it.
        tool: the command that `query` needs.
        query: a command. With names in place of `NAMES` it prints `NAME STATE VERSION` of those that it knows. A name
            counts only as itself, not as what another package provides.
        scripts: files beside this one that together install "$@".
        progress: what a line of its output says to a reader.
    """

    name: str
    tool: str
    query: str
    scripts: tuple[str, ...]
    progress: Callable[[str], Progress | None]

    def asked(self, names: Iterable[str]) -> str:
        """A fragment: `query` for these names. It fails where the manager is not there."""
        query = self.query.replace("NAMES", " ".join(quote(name) for name in names))
        return f"command -v {self.tool} >/dev/null || exit 9\n{query}\n:\n"

    def installing(self, names: Iterable[str]) -> str:
        """A script that installs them."""
        words = " ".join(quote(name) for name in names)
        query = self.query.replace("NAMES", '"$@"')
        head = f"set -- {words}\nname={self.name}\nquery() {{\n    {query}\n}}\n"
        return head + "".join(shell(script) for script in self.scripts)

    def refreshing(self, repository: str) -> str:
        """A script that reads the package lists of this repository (dnf, zypper), after the same preparations."""
        return self._calling(f"refreshed {quote(repository)}")

    def enabling(self, stream: str) -> str:
        """A script that enables the stream of a module (dnf): `nvidia-driver:open-dkms`."""
        return self._calling(f"patient dnf $options -y module enable {quote(stream)}")

    def _calling(self, command: str) -> str:
        calls = "".join(shell(script) for script in self.scripts[:-1])
        return f"name={self.name}\n{calls}{command} || cause\n"


def manager(name: str) -> Manager:
    """The package manager of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in _MANAGERS:
        raise ValueError(f"packages cannot be installed by {name or 'an unknown package manager'}")
    return _MANAGERS[name]


@cache
def shell(name: str) -> str:
    """The text of a shell file beside this one."""
    return files("provision.resources.managers").joinpath(f"{name}.sh").read_text(encoding="utf-8")


def apt_progress(line: str) -> Progress | None:
    """What a line of apt's output says to a reader, among them who holds the lock."""
    text = printable(line.strip(), 160)
    if re.match(r"(Get:\d+|Unpacking|Setting up|Preparing to unpack|Waiting for cache lock)", text):
        return Progress(re.sub(r"^Get:\d+ \S+ ", "downloading ", text))
    return None


def rpm_progress(line: str) -> Progress | None:
    """The same of dnf and zypper: `  Installing : jq-1.7.1  1/2`, `(1/2) Installing: jq-1.7.1 [..done]`."""
    text = printable(" ".join(line.split()), 160)
    known = re.match(r"(\(\d+/\d+\)|\[ ?\d+/\d+\]|Installing ?: \S|Retrieving|Waiting for the lock)", text)
    return Progress(text) if known else None


def pacman_progress(line: str) -> Progress | None:
    """The same of pacman: ` jq-1.7.1-1-any downloading...`, `installing jq...`."""
    text = printable(line.strip(), 160)
    return Progress(text) if re.match(r"(\S+ downloading|installing |Waiting for the lock)", text) else None


_DPKG = r"dpkg-query -W -f='${Package} ${db:Status-Status} ${Version}\n' NAMES 2>/dev/null"
_RPM = r"rpm -q --qf '%{NAME} installed %{VERSION}-%{RELEASE}\n' NAMES 2>/dev/null"
# pacman -Q also finds a package by what it provides, and prints that package's own name then.
_PACMAN = r"pacman -Q NAMES 2>/dev/null | sed 's/ / installed /'"
_PATIENT = ("install", "proxy", "patient")

_MANAGERS = {
    one.name: one
    for one in (
        Manager("apt", "dpkg-query", _DPKG, ("apt-get", "install", "apt"), apt_progress),
        Manager("dnf", "rpm", _RPM, (*_PATIENT, "dnf-calls", "dnf"), rpm_progress),
        Manager("dnf5", "rpm", _RPM, (*_PATIENT, "dnf-calls", "dnf"), rpm_progress),
        Manager("zypper", "rpm", _RPM, (*_PATIENT, "zypper-calls", "zypper"), rpm_progress),
        Manager("pacman", "pacman", _PACMAN, (*_PATIENT, "pacman"), pacman_progress),
    )
}
