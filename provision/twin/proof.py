"""The proof of a `twin test`: what was tested, with what in place of what, and what came of it. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.engine.plan import Plan
from provision.resources.base import Change, Resource
from provision.resources.derived_model import DerivedModel
from provision.resources.image import Image, named
from provision.resources.ollama_model import OllamaModel
from provision.resources.release import Release
from provision.verify.check import Result
from provision.verify.report import as_json

Changes = Mapping[str, Sequence[Change]]


@dataclass
class Proof:
    """Filled as the test goes on; what is None was not reached.

    Args:
        inventory: its path.
        inputs: digests of everything that was read: inventory, roles, templates.
        versions: of this program, of the engine.
        hosts: host -> image and the image's id.
        replaced: host -> what stands in for what the inventory says.
        digests: host -> release, model or image -> SHA-256 of what is there after the first run.
        first: changes of the first run.
        left: changes that a plan after it found: none, or the roles are not idempotent.
        second: changes of the second run.
        checks: of `verify`.
        problems: errors, one line each.
        seconds: step -> how long it took.
    """

    inventory: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    replaced: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    first: Changes | None = None
    left: Changes | None = None
    second: Changes | None = None
    checks: Sequence[Result] | None = None
    problems: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Every step was reached, and found nothing."""
        quiet = all(runs is not None and not any(runs.values()) for runs in (self.left, self.second))
        failed = [one for one in self.checks or () if one.verdict.status in ("failed", "blocked")]
        return quiet and self.checks is not None and not failed and not self.problems

    def text(self) -> str:
        """As JSON; the caller masks it."""
        value = {
            "passed": self.passed,
            "inventory": self.inventory,
            "inputs": self.inputs,
            "versions": self.versions,
            "hosts": self.hosts,
            "replaced": self.replaced,
            "digests": self.digests,
            "first_run": _changes(self.first),
            "left_after_first_run": _changes(self.left),
            "second_run": _changes(self.second),
            "checks": None if self.checks is None else [json.loads(as_json(one)) for one in self.checks],
            "problems": self.problems,
            "seconds": {step: round(seconds, 1) for step, seconds in self.seconds.items()},
        }
        return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"


def _changes(runs: Changes | None) -> dict[str, list[str]] | None:
    if runs is None:
        return None
    return {host: [f"{change.action} {change.resource}" for change in changes] for host, changes in runs.items()}


def digests(plan: Plan) -> dict[str, str]:
    """SHA-256 of what a host has, as the host says: of a release's archive, a model's manifest, an image.

    What is not there has none.
    """
    found = {one.id: _digest(one, plan.observation.of[one.id]) for one in plan.declared.resources}
    return {name: digest.removeprefix("sha256:") for name, digest in found.items() if digest}


def _digest(resource: Resource, observed: Any) -> str:
    if isinstance(resource, Release):
        return str(observed.digest)
    if isinstance(resource, OllamaModel | DerivedModel):
        tag = observed.tag(resource.local)
        return tag.digest if tag else ""
    if isinstance(resource, Image):
        return str((named(observed.of("image"), resource.name) or {}).get("Id", ""))
    return ""
