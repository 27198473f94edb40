"""The budget of lab tests: its sums, its table, and that what hangs is ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import budget

ROOT = Path(__file__).parents[3]
CONFTEST = """
from tests.lab import budget
budget.TEST, budget.DEFAULT = 1, {budget}
from tests.lab.conftest import *
"""
TESTS = """
import subprocess
def test_quick(): pass
{hanging}
"""
HANGING = "def test_hangs(): subprocess.run(['sleep', '600'])"


def run(folder: Path, *options: str, hanging: bool, seconds: float, strict: bool) -> "subprocess.CompletedProcess[str]":
    """pytest on a small module, with the lab's hooks."""
    (folder / "conftest.py").write_text(CONFTEST.format(budget=seconds))
    (folder / "test_small.py").write_text(TESTS.format(hanging=HANGING if hanging else ""))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    command += [*options, str(folder)]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PROVISION_LAB_STRICT": "1" if strict else ""}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)


def test_every_budget_belongs_to_a_module() -> None:
    for module in budget.MODULES:
        assert (ROOT / "tests" / "lab" / f"{module}.py").is_file()


def test_the_table_names_what_is_over_the_longest_first() -> None:
    assert budget.module_of("tests/lab/faults/test_ollama.py::test_x[a::b]") == "faults/test_ollama"
    assert budget.table({"test_cli": 12.34, "test_office": budget.MODULES["test_office"] + 1}) == [
        "test_office   301.0 s of  300  OVER BUDGET",
        "test_cli       12.3 s of  120",
    ]
    assert budget.table({}) == []


def test_a_test_that_hangs_is_ended_and_said(tmp_path: Path) -> None:
    ended = run(tmp_path, "-n", "1", hanging=True, seconds=60, strict=False)
    assert ended.returncode == 1
    assert "test_small.py::test_hangs took more than 1 s" in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout
    assert "test_small" in ended.stdout.partition("seconds of each module")[2]


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 1)])
def test_a_module_over_its_budget_fails_a_strict_run_only(tmp_path: Path, strict: bool, code: int) -> None:
    ended = run(tmp_path, hanging=False, seconds=0, strict=strict)
    assert ended.returncode == code
    assert "OVER BUDGET" in ended.stdout
