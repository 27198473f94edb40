"""Services, and the processes that they are."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Section
from provision.resources.file import File
from provision.resources.service import SPEC, Service
from provision.values import quote
from provision.verify.check import Check, Verdict
from provision.verify.checks.sources import Asked

UNITS = "/etc/systemd/system"


@dataclass(frozen=True)
class ServiceRuns(Check):
    """A service runs, is enabled, and its process has the environment that its unit says and that is declared.

    Args:
        unit: its whole name.
        services: the statements about it.
        declared: variables of the unit's own files, as they are declared.
    """

    unit: str
    services: tuple[Service, ...]
    declared: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`service NAME`."""
        return name_of(self.unit)

    def question(self) -> str:
        """The unit's properties, its files' PROVISION_SPEC, and the environment of its main process.

        `systemctl show` alone lies after a daemon-reload without restart: it shows the file, not the process.
        """
        return Asked(f"unit {quote(self.unit)}\n{_SERVICE}", [self.unit])

    def judge(self, answer: Section) -> Verdict:
        """State, start at boot, process."""
        told, _, environ = answer.text.partition("process:\n")
        known, process = variables(told.splitlines()), variables(filter(None, environ.split("\n")))
        if "ActiveState" not in known:
            raise ValueError("systemctl gave no answer")
        complaints: list[str] = []
        for service in self.services:
            complaints += self._state(service, known)
        spec = next((service.spec for service in self.services if service.spec), "")
        if process and spec:
            complaints += self._process(spec, known, process)
        return Verdict.of(list(dict.fromkeys(complaints)), known["ActiveState"])

    def _state(self, service: Service, known: Mapping[str, str]) -> list[str]:
        complaints = []
        if service.running and known["ActiveState"] != "active":
            complaints.append(f"{self.unit} is {known['ActiveState']}")
        if service.running is False and known["ActiveState"] == "active":
            complaints.append(f"{self.unit} runs")
        if service.enabled and known.get("UnitFileState") in ("disabled", "masked", ""):
            complaints.append(f"{self.unit} is {known['UnitFileState'] or 'not there'} at boot, not enabled")
        return complaints

    def _process(self, spec: str, known: Mapping[str, str], process: Mapping[str, str]) -> list[str]:
        whose = f"the process of {self.unit} runs with"
        unit = variables(shlex.split(known.get("Environment", "")))
        old = differing(unit, process)
        if process.get(SPEC) != known.get("file"):
            old.append(SPEC)
        if old:
            return [f"{whose} another {', '.join(dict.fromkeys(old))} than its unit says: restart it"]
        if process.get(SPEC) != spec:
            return [f"{whose} older settings than declared"]
        if other := differing(self.declared, process):
            return [f"{whose} another {', '.join(other)} than declared: see `systemctl cat {self.unit}`"]
        return []


# The unit's files as `systemctl cat` shows them, of which the last one wins.
_SERVICE = """\
printf '%s' "$told"
[ -z "$files" ] || sed -n 's/.*PROVISION_SPEC=\\([0-9a-f]*\\).*/file=\\1/p' $files 2>/dev/null
echo process:
[ "$p" = 0 ] || tr '\\0\\n' '\\n ' <"/proc/$p/environ"
"""


def name_of(unit: str) -> str:
    """The name of a service's check, which others need."""
    return f"service {unit.removesuffix('.service')}"


def variables(words: Iterable[str]) -> dict[str, str]:
    """`NAME=value` words as a mapping."""
    return dict(word.partition("=")[::2] for word in words)


def differing(wanted: Mapping[str, str], process: Mapping[str, str]) -> list[str]:
    """Names of variables that a process has otherwise. A proxy's come from a file, which wins over the unit's lines."""
    return [name for name in sorted(wanted) if process.get(name) != wanted[name] and not name.endswith("_PROXY")]


def declared_variables(unit: str, files: Iterable[File]) -> dict[str, str]:
    """What the declared unit file and drop-ins of a unit set by `Environment=`; later files win, as in systemd."""
    own = [
        file
        for file in files
        if file.path == f"{UNITS}/{unit}"
        or (file.path.startswith(f"{UNITS}/{unit}.d/") and file.path.endswith(".conf"))
    ]
    found: dict[str, str] = {}
    for file in sorted(own, key=lambda one: one.path):
        for line in file.content.splitlines() if isinstance(file.content, str) else ():
            if line.startswith("Environment="):
                found |= variables(shlex.split(line.removeprefix("Environment=").replace("%%", "%")))
    return found
