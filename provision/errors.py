"""Everything that can go wrong, as one tree.

ProvisionError
├── InputError            the inventory, a template or the command line is wrong: exit code 3
├── HostError             one host; the others go on: exit code 1
│   ├── Unreachable       no session could be made: exit code 4
│   ├── SessionLost       the connection ended in the middle
│   ├── BecomeError       connected, but not root
│   ├── HostRefused       the host cannot be served (wrong OS, lock held, no space)
│   └── ResourceFailed    a resource could not be brought to its state
└── Interrupted           Ctrl-C: exit code 130
"""

from collections.abc import Iterable
from dataclasses import dataclass


class ProvisionError(Exception):
    """Base of all errors that are meant for the user.

    Args:
        message: what happened and where, one line.
        hint: what to do about it, one line; empty when the message says it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake in one place of an input file. Lines and columns count from 1; 0 is "the whole file"."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}"


class InputError(ProvisionError):
    """The input is wrong. Carries every mistake that was found in the run."""

    exit_code = 3

    def __init__(self, mistakes: Iterable[Mistake] | str, hint: str = "") -> None:
        self.mistakes: tuple[Mistake, ...] = () if isinstance(mistakes, str) else tuple(sorted(set(mistakes)))
        text = mistakes if isinstance(mistakes, str) else "\n".join(str(m) for m in self.mistakes)
        super().__init__(text, hint)


class HostError(ProvisionError):
    """Something about one host. `host` is its inventory name."""

    def __init__(self, host: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.host = host

    def __str__(self) -> str:
        return f"{self.host}: {super().__str__()}"


class Unreachable(HostError):
    """No session: name, network, host key, authentication."""

    exit_code = 4


class SessionLost(HostError):
    """The connection ended, or an answer did not come in time. What ran on the host may have gone on."""


class BecomeError(HostError):
    """Connected, but root could not be reached."""


class HostRefused(HostError):
    """The host is fine, but must not or cannot be served now."""


class ResourceFailed(HostError):
    """A resource could not be brought to its state. `resource` is its id, such as `file:/etc/hosts`."""

    def __init__(self, host: str, resource: str, message: str, hint: str = "") -> None:
        super().__init__(host, message, hint)
        self.resource = resource

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return f"{self.host}: {self.resource}: {text}"


class Interrupted(ProvisionError):
    """The user pressed Ctrl-C."""

    exit_code = 130
