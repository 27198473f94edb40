"""Speeds of the last time."""

from pathlib import Path

import pytest

from provision.verify.check import Result, Verdict
from provision.verify.history import History


def spoke(host: str, speed: float) -> Result:
    return Result(host, "generation tiny", Verdict("passed", figures={"tokens_per_second": speed}))


def test_the_last_speed_of_each_host_is_kept_for_each_inventory(tmp_path: Path) -> None:
    history = History(tmp_path / "state" / "speeds.json", tmp_path / "office.yml")
    assert history.read() == {}
    history.write([spoke("a", 7.5), spoke("b", 30)])
    history.write([spoke("a", 8), Result("a", "drift", Verdict("passed"))])
    assert history.read() == {("a", "generation tiny"): 8, ("b", "generation tiny"): 30}
    assert History(history.path, tmp_path / "other.yml").read() == {}


@pytest.mark.parametrize("text", ["", "[]", '{"x": 1}', '{"%s": {"a": 1, "b": {"c": "fast"}}}'])
def test_a_file_that_is_something_else_is_no_history(tmp_path: Path, text: str) -> None:
    history = History(tmp_path / "speeds.json", tmp_path / "office.yml")
    history.path.write_text(text.replace("%s", str(history.inventory.resolve())))
    assert history.read() == {}
    history.write([Result("a", "drift", Verdict("passed"))])


def test_a_folder_that_cannot_be_written_is_no_failure() -> None:
    History(Path("/proc/nowhere/speeds.json"), Path("office.yml")).write([spoke("a", 1)])
