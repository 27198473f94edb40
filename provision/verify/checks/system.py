"""Checks of the system: packages, files, services and the processes they are, secrets."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.resources.base import Section
from provision.resources.file import Directory, File
from provision.resources.service import SPEC, Service
from provision.values import printable, quote
from provision.verify.check import Check, Verdict

SHORTEST = 8
"""Secrets with fewer characters are not searched for: they are found everywhere by chance."""


@dataclass(frozen=True)
class Packages(Check):
    """These packages are installed, as dpkg itself checks it."""

    names: tuple[str, ...]
    name = "packages"

    def question(self) -> str:
        """`dpkg -s` of each: its status line, `NAME: Status: install ok installed`."""
        words = " ".join(quote(name) for name in self.names)
        return f"for p in {words}; do\nprintf '%s ' \"$p\"\n{_STATUS}\necho\ndone"

    def judge(self, answer: Section) -> Verdict:
        """Each name with the status `install ok installed`."""
        found = dict(line.partition(" ")[::2] for line in answer.lines)
        wrong = [name for name in self.names if found.get(name, "").strip() not in _INSTALLED]
        return Verdict.of([f"not installed: {', '.join(wrong)}"] if wrong else [], f"{len(self.names)} installed")


_STATUS = "dpkg -s \"$p\" 2>/dev/null | sed -n 's/^Status: //p'"
_INSTALLED = ("install ok installed", "hold ok installed")


@dataclass(frozen=True)
class Files(Check):
    """Files and directories are there, with their owner and mode."""

    items: tuple[File | Directory, ...]
    name = "files"

    def question(self) -> str:
        """`find` on each path itself: number, type, mode, owner, group."""
        lines = (
            f"printf '{number} '; find {quote(item.path.rstrip('/'))}{'/.' if isinstance(item, Directory) else ''} "
            "-prune -printf '%y %m %u %g\\n' 2>/dev/null || echo"
            for number, item in enumerate(self.items)
        )
        return "\n".join(lines) + "\n:"

    def judge(self, answer: Section) -> Verdict:
        """Type, mode, owner and group of each."""
        found = dict(line.partition(" ")[::2] for line in answer.lines)
        complaints = [
            text for number, item in enumerate(self.items) if (text := _wrong(item, found[str(number)].split()))
        ]
        return Verdict.of(complaints, f"{len(self.items)} as declared")


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
class Services(Check):
    """Services run, are enabled, and their processes have the environment that their units say."""

    services: tuple[Service, ...]
    name = "services"

    def question(self) -> str:
        """Of each unit: its properties, its files' PROVISION_SPEC, and the environment of its main process.

        `systemctl show` alone lies after a daemon-reload without restart: it shows the file, not the process.
        """
        return "".join(_SERVICE.format(unit=quote(service.unit)) for service in self.services) + ":\n"

    def judge(self, answer: Section) -> Verdict:
        """Each service by itself."""
        blocks = answer.text.split("unit=")[1:]
        if len(blocks) != len(self.services):
            raise ValueError("systemctl gave no answer")
        complaints: list[str] = []
        for service, block in zip(self.services, blocks, strict=True):
            complaints += service_complaints(service, block.splitlines()[1:])
        return Verdict.of(complaints, ", ".join(service.name for service in self.services))


_SERVICE = """\
u={unit}
echo "unit=$u"
systemctl show -p ActiveState,UnitFileState,MainPID,Environment -- "$u"
systemctl cat -- "$u" 2>/dev/null | sed -n 's/.*PROVISION_SPEC=\\([0-9a-f]*\\).*/file=\\1/p' | tail -n 1
p=$(systemctl show --value -p MainPID -- "$u")
if [ "${{p:-0}}" -gt 0 ] 2>/dev/null; then tr '\\0\\n' '\\n ' <"/proc/$p/environ" | sed 's/^/process=/'; fi
"""


def service_complaints(service: Service, lines: list[str]) -> list[str]:
    """What is wrong with one service, by the lines that its part of the question printed."""
    known = dict(line.partition("=")[::2] for line in lines if not line.startswith("process="))
    process = dict(line.removeprefix("process=").partition("=")[::2] for line in lines if line.startswith("process="))
    if "ActiveState" not in known:
        return [f"{service.unit}: systemctl gave no answer"]
    complaints = []
    if service.running and known["ActiveState"] != "active":
        complaints.append(f"{service.unit} is {known['ActiveState']}")
    if service.running is False and known["ActiveState"] == "active":
        complaints.append(f"{service.unit} runs")
    if service.enabled and known.get("UnitFileState") in ("disabled", "masked", ""):
        complaints.append(f"{service.unit} is {known['UnitFileState'] or 'not there'} at boot, not enabled")
    if not process or not service.running or not service.spec:
        return complaints
    # A proxy's variables come from a file of their own, which wins over the unit's lines.
    unit = dict(word.partition("=")[::2] for word in shlex.split(known.get("Environment", "")))
    old = [key for key in sorted(unit) if process.get(key) != unit[key] and not key.endswith("_PROXY")]
    if process.get(SPEC) != known.get("file"):
        old.append(SPEC)
    if old:
        names = ", ".join(dict.fromkeys(old))
        complaints.append(f"the process of {service.unit} runs with another {names} than its unit says: restart it")
    elif process.get(SPEC) != service.spec:
        complaints.append(f"the process of {service.unit} runs with older settings than declared")
    return complaints


@dataclass(frozen=True)
class Secrets(Check):
    """Files with secrets are readable by root alone, and no secret stands where others can read it.

    Args:
        paths: of sensitive files.
        values: this host's own secrets; those of others never travel here.
    """

    paths: tuple[str, ...]
    values: tuple[str, ...] = field(repr=False)
    name = "secrets"

    @property
    def secrets(self) -> Mapping[str, str]:
        """The values, one line each."""
        forms = {form for value in self.values for form in _forms(value)}
        return {"PROVISION_SECRETS": "\n".join(sorted(forms))}

    def question(self) -> str:
        """Modes of the files; where a value was found."""
        files = " ".join(quote(path) for path in self.paths)
        return _SECRETS.format(files=files)

    def judge(self, answer: Section) -> Verdict:
        """No line may be a complaint, and the end must be reached."""
        if not answer.lines or answer.lines[-1] != "end":
            raise ValueError("the search did not come to its end")
        complaints = []
        for line in answer.lines[:-1]:
            kind, _, rest = line.partition(" ")
            if kind == "found":
                complaints.append(f"a secret stands in {printable(rest, 200)}")
            elif kind == "mode" and not rest.startswith("600 "):
                mode, _, path = rest.partition(" ")
                complaints.append(
                    f"{path} is not there" if mode == "-" else f"{path} has mode {mode.zfill(4)}, not 0600"
                )
        return Verdict.of(complaints, f"{len(self.paths)} files, {len(self.values)} values")


def _forms(value: str) -> tuple[str, ...]:
    """As it is, and as JSON writes it; of several lines the longest."""
    line = max(value.splitlines(), key=len, default="")
    return (line, json.dumps(line)[1:-1]) if len(line) >= SHORTEST else ()


# grep reads patterns from a file, so that no value is in an argument; this shell's own environment is not searched.
_SECRETS = """\
for f in {files}; do printf 'mode %s\\n' "$(stat -c '%a %n' -- "$f" 2>/dev/null || echo "- $f")"; done
if [ -n "$PROVISION_SECRETS" ]; then
    p=$PROVISION_TMP/secrets
    (umask 077; printf '%s\\n' "$PROVISION_SECRETS" >"$p") || exit 1
    grep -rlF -f "$p" /etc/systemd/system /run/systemd/system 2>/dev/null | sed 's/^/found the unit file /'
    for c in /proc/[0-9]*/cmdline; do
        if tr '\\0' ' ' <"$c" 2>/dev/null | grep -qF -f "$p"; then
            d=${{c%/cmdline}}
            echo "found the arguments of process ${{d#/proc/}} ($(cat "$d/comm" 2>/dev/null))"
        fi
    done
    if command -v docker >/dev/null 2>&1; then
        for c in $(docker ps -aq 2>/dev/null); do
            if docker inspect "$c" | grep -qF -f "$p"; then
                echo "found docker inspect $(docker inspect -f '{{{{.Name}}}}' "$c")"
            fi
        done
    fi
    rm -f "$p"
fi
echo end
"""
