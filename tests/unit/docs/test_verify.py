"""docs/verify.md names every check, with what it needs."""

import importlib
import inspect
import pkgutil
import re

import provision.verify.checks
from provision.verify.check import Check
from tests.docs.pages import DOCS
from tests.lab.sabotages import SABOTAGES

# Those of a whole fleet, and those that are named after what they check.
NAMED = {"drift", "reachable ports", "our own log", "service NAME", "generation MODEL"}
ROWS = re.findall(r"(?m)^\| `([^`]+)` \| ", (DOCS / "verify.md").read_text().partition("## The fleet's own tests")[0])


def names() -> set[str]:
    """Of all checks that have a name of their own."""
    found = set()
    for info in pkgutil.iter_modules(provision.verify.checks.__path__, "provision.verify.checks."):
        for value in vars(importlib.import_module(info.name)).values():
            name = getattr(value, "name", None)
            if inspect.isclass(value) and issubclass(value, Check) and isinstance(name, str):
                found.add(name)
    return found


def test_every_check_has_a_row_and_every_row_a_check() -> None:
    assert set(ROWS) == names() | NAMED


def test_every_check_but_a_few_is_shown_to_fail() -> None:
    broken = {one.check for one in SABOTAGES} | {check for one in SABOTAGES for check in one.also}
    kinds = {re.sub("^(service|generation) .*", r"\\1", check) for check in broken}
    known = {re.sub("^(service|generation) .*", r"\\1", row) for row in ROWS}
    assert kinds <= known
    # What is missing here is shown to fail by tests/lab/test_gpus.py, or by recorded answers only (tests/unit/verify).
    assert known - kinds == {"our own log", "volumes", "webui ready", "gpu libraries", "gpu devices"}
