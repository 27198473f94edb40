"""An inventory on disk whose twin is made by `provision twin`, as a user would."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.lab.cli import ROOT
from tests.lab.hosts import Result
from tests.lab.machine import client

THREE = {"all": {"vars": {"provision_roles": []}, "hosts": {"a.office.lan": {}, "b": {}, "c": {}}}}


@dataclass
class Fleet:
    """An inventory in a folder of its own, and `provision` run there."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "inventory" / "office.yml"

    def write(self, data: object) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(yaml.safe_dump(data))

    def run(self, *words: str, **environ: str) -> Result:
        """Run `provision WORDS...`."""
        ended = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
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

    def command(self, *words: str) -> list[str]:
        """The command line, with this inventory."""
        return [sys.executable, "-m", "provision", *words[:2], "-i", str(self.path), *words[2:]]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the program runs with."""
        own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder / "state"), "NO_COLOR": "1"}
        return os.environ | own | dict(more or {})

    def check(self, *words: str, **environ: str) -> str:
        result = self.run(*words, **environ)
        assert result.rc == 0, f"{words}: {result.rc}\n{result.out}{result.err}"
        return result.out

    def containers(self) -> dict[str, str]:
        """Host -> id of its container."""
        label = f"provision.twin.inventory={self.path.resolve()}"
        found = client().containers.list(all=True, ignore_removed=True, filters={"label": label})
        return {one.labels["provision.twin.host"]: str(one.id) for one in found}
