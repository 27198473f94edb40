"""Streams of dnf 4's modules: which of several lines of packages a repository gives."""

import configparser
from collections.abc import Iterator

from provision.dataclass import dataclass
from provision.resources.base import Change, Job, Pending, Section, Step
from provision.resources.managers import manager
from provision.values import printable, quote


@dataclass(frozen=True)
class ModuleStream:
    """This stream of a module is enabled: without one dnf hides the packages of all.

    Args:
        module: `nvidia-driver`.
        stream: `open-dkms`.
    """

    module: str
    stream: str

    @property
    def id(self) -> str:
        """`module-stream:MODULE`."""
        return f"module-stream:{self.module}"

    def probe(self) -> str:
        """What dnf keeps of it (libdnf: ModulePackageContainer)."""
        return f"cat {quote(f'/etc/dnf/modules.d/{self.module}.module')} 2>/dev/null || :\n"

    def observe(self, section: Section) -> str:
        """The stream that is enabled, or "".

        Raises:
            ValueError: dnf's file cannot be read.
        """
        said = configparser.ConfigParser(interpolation=None)
        try:
            said.read_string(section.text)
        except configparser.Error as error:
            raise ValueError(f"dnf's file of the module {self.module}: {printable(str(error), 100)}") from error
        state, stream = (said.get(self.module, key, fallback="") for key in ("state", "stream"))
        return stream if state == "enabled" else ""

    def plan(self, observed: str, pending: Pending) -> Change | None:
        """`enable`.

        Raises:
            ValueError: another one is, whose packages may be installed.
        """
        if observed == self.stream:
            return None
        if observed:
            other = f"{self.module}:{printable(observed, 60)}"
            raise ValueError(f"{other} is enabled, {self.stream} is needed: dnf module reset {self.module}, then apply")
        return Change(self.id, "enable", "no stream is", {"stream": ""}, {"stream": self.stream})

    def steps(self, change: Change) -> Iterator[Step]:
        """One job."""
        name = f"dnf-stream-{self.module}"
        yield Job(name, manager("dnf").enabling(f"{self.module}:{self.stream}"), timeout=600)
