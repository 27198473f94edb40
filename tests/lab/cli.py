"""A fleet on disk and the program that is run against it, as a user would."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tests.lab import images
from tests.lab.hosts import LabHost, Result

ROOT = Path(__file__).parents[2]

FILES_ROLE = '''"""Files with these texts, then scripts that run while something is not there: small roles for tests."""

from collections.abc import Iterator

from pydantic import BaseModel

from provision.resources.base import Change, Job, Pending, Run, Section, Step
from provision.resources.file import File
from provision.values import Secret, quote
from dataclasses import dataclass


class Settings(BaseModel):
    files: dict[str, str | Secret] = {}
    jobs: dict[str, str] = {}


@dataclass(frozen=True)
class Made:
    """A path that a job makes."""

    path: str
    script: str

    @property
    def id(self) -> str:
        return f"made:{self.path}"

    def probe(self) -> str:
        return f"[ -e {quote(self.path)} ]\\n"

    def observe(self, section: Section) -> bool:
        return section.rc == 0

    def plan(self, observed: bool, pending: Pending) -> Change | None:
        return None if observed else Change(self.id, "make", "not there")

    def steps(self, change: Change) -> Iterator[Step]:
        yield Job("made" + "".join(c for c in self.path if c.isalnum()).lower(), self.script)


def declare(host, want):
    for path, text in want.files.items():
        secret = isinstance(text, Secret)
        yield File(path, text.reveal() if secret else text, mode="0600" if secret else "0644", sensitive=secret)
    for path, script in want.jobs.items():
        yield Made(path, script)
'''


@dataclass
class Program:
    """`provision`, run in a folder of its own as a user would.

    A subclass says by `command` which inventory it is run with.
    """

    patience: ClassVar[float] = 300
    """Seconds after which a run is given up."""

    folder: Path

    def command(self, *words: str) -> list[str]:
        """The command line, with the inventory."""
        raise NotImplementedError

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the program runs with."""
        own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder / "state"), "NO_COLOR": "1"}
        return os.environ | own | dict(more or {})

    def run(self, *words: str, timeout: float | None = None, **environ: str) -> Result:
        """Run `provision WORDS...`."""
        ended = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout or self.patience,
            check=False,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start it and do not wait."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def check(self, *words: str, timeout: float | None = None, **environ: str) -> str:
        """As `run`, for a command that must succeed; gives its output."""
        result = self.run(*words, timeout=timeout, **environ)
        assert result.rc == 0, f"{words}: {result.rc}\n{result.out}{result.err}"
        return result.out


@dataclass
class Office(Program):
    """An inventory that is written anew for each run, from what the attributes say then.

    Args:
        folder: where it lies; a role `files` beside the inventory.
        hosts: host name -> its variables.
        variables: of all hosts.
    """

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "roles").mkdir(parents=True, exist_ok=True)
        (self.folder / "roles" / "files.py").write_text(FILES_ROLE)
        self.variables.setdefault("ansible_user", "admin")
        self.variables.setdefault("ansible_ssh_private_key_file", str(images.key()))
        known = f"-o UserKnownHostsFile={self.known_hosts}"
        self.variables.setdefault("ansible_ssh_common_args", known)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def add(self, host: LabHost, name: str | None = None, **variables: Any) -> None:
        """Put a running host into the inventory, with its key known."""
        where = {"ansible_host": "127.0.0.1", "ansible_port": host.port}
        self.hosts[name or host.name] = where | variables
        with self.known_hosts.open("a") as file:
            file.write(host.known_hosts)

    def write(self) -> Path:
        """The inventory as YAML."""
        path = self.folder / "inventory.yml"
        children = {name: {"hosts": dict.fromkeys(hosts)} for name, hosts in self.groups.items()}
        data = {"all": {"hosts": self.hosts, "vars": self.variables, "children": children}}
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    def command(self, *words: str) -> list[str]:
        """The command line, with this inventory."""
        return [sys.executable, "-m", "provision", words[0], "-i", str(self.write()), *words[1:]]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the program runs with."""
        return super().environment(self.environ | dict(more or {}))

    def events(self, *words: str, timeout: float | None = None) -> list[dict[str, Any]]:
        """The events of `--json`."""
        return [json.loads(line) for line in self.run(*words, "--json", timeout=timeout).out.splitlines()]

    def verdicts(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(host, check) -> status and message, as `verify` gives them; its own status says whether one failed."""
        ended = self.run("verify", "--json", timeout=600)
        found = [json.loads(line) for line in ended.out.splitlines()]
        assert found, ended.err
        verdicts = {(one["host"], one["check"]): (one["status"], one["message"]) for one in found}
        assert ended.rc == any(status == "failed" for status, _ in verdicts.values()), ended.out
        return verdicts

    def logs(self) -> str:
        """All that was logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("state/provision/log/*")))
