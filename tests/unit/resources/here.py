"""A folder that stands for a host: fragments run in a real shell, with their absolute paths below it."""

import getpass
import grp
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.resources.base import Change, Job, Pending, Resource, Run, Section, Step, Upload

OWNER = getpass.getuser()
GROUP = grp.getgrgid(os.getgid()).gr_name

_PLACES = re.compile(r"(?<![\w./-])/(opt|etc|run/provision|sys|var/lib|usr/local)/")


class StepFailed(Exception):
    """A step ended with a status that is not 0; the text is what a user is told."""


@dataclass
class Here:
    """Executes what resources say, with `sh`.

    Args:
        root: stands for `/` in the paths of scripts.
        shell: the words that start the shell.
        commands: name -> script of commands that this machine must not run itself, such as `systemctl`.
    """

    root: Path
    shell: tuple[str, ...] = ("dash",)
    commands: Mapping[str, str] = field(default_factory=dict)
    ran: list[Step] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Where a path of the host lies here."""
        return self.root / name.lstrip("/")

    def put(self, name: str, content: str | bytes = b"", mode: int = 0o644) -> Path:
        """Write a file of the host."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def sh(self, script: str, secrets: Mapping[str, str] | None = None) -> Section:
        """Run a fragment; paths of the host in what it prints are as the host would print them."""
        bin_, tmp = self.root / ".bin", self.root / ".tmp"
        bin_.mkdir(exist_ok=True)
        tmp.mkdir(exist_ok=True)
        for name, text in self.commands.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
            (bin_ / name).chmod(0o755)
        environ = {"PATH": f"{bin_}:{os.environ['PATH']}", "LC_ALL": "C", "PROVISION_TMP": str(tmp)}
        text = _PLACES.sub(lambda found: f"{self.root}{found[0]}", script)
        ran = subprocess.run(
            [*self.shell, "-c", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environ | {"ROOT": str(self.root)} | dict(secrets or {}),
            timeout=60,
            check=False,
        )
        out, err = (stream.replace(os.fsencode(self.root), b"") for stream in (ran.stdout, ran.stderr))
        return Section(ran.returncode, out, err)

    def plan(self, resource: Resource, pending: Pending | None = None) -> Change | None:
        """What the resource would do here."""
        observed: Any = resource.observe(self.sh(resource.probe()))
        return resource.plan(observed, pending or Pending())

    def apply(self, resource: Resource) -> Change | None:
        """Do it, as the engine would; the change, or None when there was nothing to do.

        Raises:
            StepFailed: a step failed.
        """
        change = self.plan(resource)
        for step in resource.steps(change) if change else ():
            self.ran.append(step)
            self.step(step)
        return change

    def step(self, step: Step) -> None:
        """One step; Docker's are for real hosts."""
        if isinstance(step, Upload):
            data = step.content.read_bytes() if isinstance(step.content, Path) else step.content
            self.put(step.path, data, 0o600)
        elif isinstance(step, Run | Job):
            section = self.sh(step.script, step.secrets)
            self._judge(step, section)

    def _judge(self, step: Run | Job, section: Section) -> None:
        if isinstance(step, Job) and step.progress:
            for line in section.lines:
                try:
                    step.progress(line)
                except ValueError as error:
                    raise StepFailed(str(error)) from error
        if section.rc:
            # A job's outputs go to one log.
            said = (section.err or section.out).decode("utf-8", "replace").strip()
            raise StepFailed(said.rpartition("\n")[2] or f"exit status {section.rc}")
