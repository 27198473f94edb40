"""No secret stands where others can read it: modes, units, arguments, Docker, files that everybody reads."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Section
from provision.values import printable, quote
from provision.verify.check import Check, Verdict
from provision.verify.checks.docker import ENGINE
from provision.verify.checks.sources import Asked, Told

SHORTEST = 8
"""Secrets with fewer characters are not searched for: they are found everywhere by chance."""


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
        return patterns(self.values)

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


def patterns(values: Iterable[str]) -> dict[str, str]:
    """The variable with what is searched for, one pattern a line."""
    return {"PROVISION_SECRETS": "\n".join(sorted({form for value in values for form in _forms(value)}))}


def _forms(value: str) -> tuple[str, ...]:
    """As it is, and as JSON writes it; of several lines the longest."""
    line = max(value.splitlines(), key=len, default="")
    return (line, json.dumps(line)[1:-1]) if len(line) >= SHORTEST else ()


# grep reads patterns from a file, so that no value is in an argument; this shell's own environment is not searched. All
# arguments are one stream of `/proc/NUMBER/cmdline:TEXT`: a process for each of hundreds would cost more than the rest.
_SECRETS = """\
for f in {files}; do printf 'mode %s\\n' "$(stat -c '%a %n' -- "$f" 2>/dev/null || echo "- $f")"; done
if [ -n "$PROVISION_SECRETS" ]; then
    p=$PROVISION_TMP/secrets
    (umask 077; printf '%s\\n' "$PROVISION_SECRETS" >"$p") || exit 1
    grep -rlF -f "$p" /etc/systemd/system /run/systemd/system 2>/dev/null | sed 's/^/found the unit file /'
    find /etc -xdev -path /etc/systemd/system -prune -o -type f -perm -o=r -size -2048 -print 2>/dev/null |
        tr '\\n' '\\0' | xargs -0 -r grep -lF -f "$p" -- 2>/dev/null |
        sed 's/^/found /; s/$/, which everybody can read/'
    grep -aH '' /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -aF -f "$p" | cut -d / -f 3 | sort -un |
        while read -r n; do
            echo "found the arguments of process $n ($(cat "/proc/$n/comm" 2>/dev/null))"
        done
    rm -f "$p"
fi
echo end
"""


@dataclass(frozen=True)
class ContainerSecrets(Check):
    """No secret stands in `docker inspect`, which everybody in the group `docker` can read.

    Args:
        values: this host's own secrets.
    """

    values: tuple[str, ...] = field(repr=False)
    name = "container secrets"
    needs = (ENGINE,)
    early = True

    @property
    def secrets(self) -> Mapping[str, str]:
        """The values, one line each."""
        return patterns(self.values)

    def question(self) -> str:
        """Names of containers in which a value was found, ours or not."""
        told = Told("list")
        return Asked(_CONTAINERS.format(list=told.call), answers=[told])

    def judge(self, answer: Section) -> Verdict:
        """None, and the end must be reached."""
        if answer.lines[-1:] != ["end"]:
            raise ValueError("the search did not come to its end")
        return Verdict.of([f"a secret stands in docker inspect {printable(line, 200)}" for line in answer.lines[:-1]])


_CONTAINERS = """\
if [ -n "$PROVISION_SECRETS" ]; then
    secrets=$PROVISION_TMP/container-secrets
    (umask 077; printf '%s\\n' "$PROVISION_SECRETS" >"$secrets")
    if all=$({list}); then
        set -- $(printf '%s\\n' "$all" | grep -o '"Id":"[0-9a-f]*"' | cut -d '"' -f 4)
        [ $# = 0 ] || docker container inspect --format '{{{{.Name}}}} {{{{json .}}}}' "$@" 2>/dev/null |
            grep -F -f "$secrets" | cut -d ' ' -f 1
        echo end
    fi
    rm -f "$secrets"
else
    echo end
fi
"""
