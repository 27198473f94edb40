"""Checks of the Docker engine and of containers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provision.resources.base import Section
from provision.resources.container import Container
from provision.values import quote
from provision.verify.check import Check, Verdict
from provision.verify.checks.ollama import loaded


@dataclass(frozen=True)
class DockerDaemon(Check):
    """The running engine has the declared keys of daemon.json, which it reads only when it starts.

    Args:
        wanted: keys of daemon.json.
    """

    wanted: Mapping[str, Any]
    name = "docker daemon"
    needs = ("services",)

    def question(self) -> str:
        """`docker info`, whole."""
        return "docker info --format '{{json .}}'"

    def judge(self, answer: Section) -> Verdict:
        """The log driver and live restore; what else is declared is not told by the engine."""
        info = loaded(answer)
        if errors := info.get("ServerErrors"):
            return Verdict("failed", f"the engine does not answer: {errors[0]}")
        shown = {"log-driver": "LoggingDriver", "live-restore": "LiveRestoreEnabled"}
        complaints = [
            f"{key} is {json.dumps(info.get(shown[key]))}, not {json.dumps(value)}"
            for key, value in self.wanted.items()
            if key in shown and info.get(shown[key]) != value
        ]
        return Verdict.of(complaints, str(info.get("ServerVersion", "")))


@dataclass(frozen=True)
class Containers(Check):
    """The declared containers run, healthy where they can tell, and come back after a reboot."""

    containers: tuple[Container, ...]
    name = "containers"
    needs = ("docker daemon",)

    def question(self) -> str:
        """Name, status, health and restart policy, one line each."""
        names = " ".join(quote(one.name) for one in self.containers)
        return (
            f"for c in {names}; do docker inspect --type container -f '{{{{.Name}}}} {{{{.State.Status}}}} "
            "{{.HostConfig.RestartPolicy.Name}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "
            '"$c" 2>/dev/null || echo "/$c missing"; done\n'
        )

    def judge(self, answer: Section) -> Verdict:
        """Each of them."""
        found = {line.split()[0].lstrip("/"): line.split()[1:] for line in answer.lines if line.strip()}
        complaints = []
        for one in self.containers:
            status, *rest = found[one.name]
            if status != "running":
                complaints.append(f"{one.name} is {status}")
            elif rest[:1] != [one.restart]:
                complaints.append(f"{one.name} has the restart policy {' '.join(rest[:1])}, not {one.restart}")
            elif rest[1:] and rest[1] != "healthy":
                complaints.append(f"{one.name} is {rest[1]}")
        return Verdict.of(complaints, ", ".join(found))
