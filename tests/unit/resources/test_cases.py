"""Resources as data: what is declared and what the probe printed, and the change that follows.

A case is a document of a file below `cases/<module>/`, where <module> is one of `provision.resources`:

    case: what it shows
    declare: an expression in the names of that module
    printed: what the probe printed, or a mapping (label -> text or JSON) for probes that print `label text`;
        @hash@ stands for the hash of what is declared
    complaint: what it printed on stderr
    status: of the probe, 0 if not given
    pending: {resource id: action} of earlier changes of the same plan; `!` after it: a reload is enough for it,
        and after a blank what it holds privately
    change: null, or the fields of the change that are checked; `why` and texts in `why_has` are parts of the reason
    refused: part of the message when the plan is refused
    remark: part of what it cannot bring about by itself; "" for nothing
    steps: for each step its kind, and parts of what it holds
"""

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.resources.base import Change, Docker, Job, Pending, Reboot, Resource, Run, Section, Step, Upload
from provision.resources.container import Container

CASES = Path(__file__).parent / "cases"


def load() -> Iterator[Any]:
    for file in sorted(CASES.glob("*/*.yml")):
        for number, case in enumerate(yaml.safe_load_all(file.read_text()), 1):
            yield pytest.param(file.parent.name, case, id=f"{file.parent.name}/{file.stem}:{number} {case['case']}")


def printed(value: str | Mapping[str, Any], resource: Resource) -> bytes:
    if isinstance(value, str):
        return value.replace("@hash@", resource.hash() if isinstance(resource, Container) else "").encode()
    texts = {label: text if isinstance(text, str) else json.dumps(text) for label, text in value.items()}
    return "".join(f"{label} {text.replace(chr(10), ' ')}\n" for label, text in texts.items()).encode()


def declared(module: str, expression: str) -> Resource:
    names = vars(importlib.import_module(f"provision.resources.{module}"))
    resource = eval(expression, dict(names), {"Path": Path, "here": CASES / module})
    assert isinstance(resource, Resource)
    return resource


@pytest.mark.parametrize(("module", "case"), list(load()))
def test_case(module: str, case: dict[str, Any]) -> None:
    resource = declared(module, case["declare"])
    section = Section(
        case.get("status", 0), printed(case.get("printed", ""), resource), case.get("complaint", "").encode()
    )
    earlier = {
        name: Change(
            name, action.partition(" ")[0].rstrip("!"), "", reload="!" in action, private=action.partition(" ")[2]
        )
        for name, action in case.get("pending", {}).items()
    }
    if "refused" in case:
        with pytest.raises(ValueError, match=case["refused"]):
            resource.plan(resource.observe(section), Pending(earlier))
        return
    observed = resource.observe(section)
    change = resource.plan(observed, Pending(earlier))
    if "remark" in case:
        said = vars(type(resource))["remark"](resource, observed)
        assert case["remark"] in said
        assert bool(said) == bool(case["remark"])
    if case["change"] is None:
        assert change is None
        return
    assert change is not None
    judge(change, resource, case)


def judge(change: Change, resource: Resource, case: Mapping[str, Any]) -> None:
    expected = dict(case["change"])
    assert change.resource == resource.id
    for part in expected.pop("why_has", []):
        assert part in change.why
    assert {key: _json(getattr(change, key)) for key in expected} == expected
    if "steps" in case:
        steps = list(resource.steps(change))
        assert [type(step).__name__ for step in steps] == [next(iter(step)) for step in case["steps"]]
        for step, wanted in zip(steps, case["steps"], strict=True):
            for part in next(iter(wanted.values())):
                assert part in holds(step)


def holds(step: Step) -> str:
    """The text of a step that a case looks into."""
    if isinstance(step, Run | Job):
        return step.script
    if isinstance(step, Upload):
        return f"{step.path} {step.content!r}"
    if isinstance(step, Reboot):
        return step.why
    assert isinstance(step, Docker)
    return step.what


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=dict)) if isinstance(value, Mapping) else value
