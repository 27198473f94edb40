import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("ansible_answers.py")


class Ansible:
    """A child process with ansible-core in it. `ask` gives its view of an inventory."""

    def __init__(self, folder: Path, **environment: str) -> None:
        # From an empty folder: Ansible also reads group_vars beside a playbook, which is the current directory.
        self.errors = (folder / "stderr").open("w")
        self.child = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            cwd=folder,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "HOME": str(folder), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, path: Path, *patterns: str) -> dict[str, Any]:
        self.send(path, *patterns)
        return self.answer()

    def send(self, path: Path, *patterns: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps({"path": str(path), "patterns": patterns}) + "\n")
        self.child.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line, Path(self.errors.name).read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(10)
        self.errors.close()


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    child = Ansible(tmp_path_factory.mktemp("ansible"))
    yield child
    child.close()


@pytest.fixture(scope="session")
def merging_ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    child = Ansible(tmp_path_factory.mktemp("merging"), ANSIBLE_HASH_BEHAVIOUR="merge")
    yield child
    child.close()
