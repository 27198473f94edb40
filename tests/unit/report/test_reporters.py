import io
import json
import threading
from pathlib import Path

import pytest

from provision.engine.events import (
    ChangeProgress,
    ChangeStarted,
    Event,
    HostFinished,
    HostPlanned,
    RunStarted,
)
from provision.report.live import Live
from provision.report.reporters import Json, Lines, fan_out, log_file, to_stream, wants_color
from provision.report.text import Style
from provision.resources.base import Change
from provision.values import Secret

SECRET = "reporters-secret-42"
STORY: tuple[Event, ...] = (
    RunStarted(command="apply", hosts=("gpu01", "gpu002")),
    HostPlanned(host="gpu01", changes=(Change("a:b", "create", f"because {SECRET}"),), unchanged=4),
    HostPlanned(host="gpu002", changes=(), unchanged=5),
    ChangeStarted(host="gpu01", resource="a:b", action="create"),
    ChangeProgress(host="gpu01", resource="a:b", text="pulling", done=5, total=10),
    HostFinished(host="gpu002", status="ok", changed=0, unchanged=5, seconds=1.0),
    HostFinished(host="gpu01", status="failed", changed=0, unchanged=4, seconds=2.0, error=f"gpu01: a:b: {SECRET}"),
)


@pytest.fixture(autouse=True)
def known() -> None:
    Secret.of(SECRET).reveal()


def told(**settings: bool) -> tuple[Lines, list[str]]:
    written: list[str] = []
    lines = Lines(written.append, Style(False), **settings)
    for event in STORY:
        lines(event)
    return lines, written


def test_plain_lines_with_a_recap_in_columns() -> None:
    lines, written = told(plan=False)
    assert written == ["gpu01: create a:b", "gpu01: a:b: ***"]
    written.clear()
    lines.recap()
    assert written == ["gpu002  0 changed  5 unchanged  1.0 s", "gpu01   failed  0 changed  4 unchanged  2.0 s"]


def test_a_plan_ends_with_what_went_wrong_and_its_sums() -> None:
    lines, written = told(plan=True)
    assert "  + create  a:b  because ***" in written
    written.clear()
    lines.recap(planned=True)
    assert written == ["gpu01   failed  0 changed  4 unchanged  2.0 s", "2 hosts: 1 change, 9 unchanged"]


@pytest.mark.parametrize("progress", [True, False])
def test_json_is_one_masked_object_a_line(progress: bool) -> None:
    out = io.StringIO()
    report = Json(out, progress)
    for event in STORY:
        report(event)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == len(STORY) - (not progress)
    assert lines[1]["changes"][0]["why"] == "because ***"
    assert SECRET not in out.getvalue()


def test_the_log_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = log_file("apply")
    assert path.parent == tmp_path / "provision" / "log"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_events_of_many_threads_do_not_mix() -> None:
    out = io.StringIO()
    emit = fan_out([Json(out)])
    threads = [threading.Thread(target=lambda: [emit(event) for event in STORY * 20]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in out.getvalue().splitlines()]) == 4 * 20 * len(STORY)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
)
def test_colours_only_on_a_terminal_that_wants_them(
    stream: io.StringIO, environ: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert wants_color(stream) is wanted


def test_lines_reach_a_pipe_at_once() -> None:
    out = io.StringIO()
    to_stream(out)("one")
    assert out.getvalue() == "one\n"


def test_live_progress_keeps_the_lines_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(False, plan=False) as live:
        for event in STORY:
            live(event)
        live(ChangeStarted(host="gpu01", resource="[bold]x", action="create"))
    live.recap()
    out = capsys.readouterr().out
    assert "gpu01: a:b: ***" in out
    assert "gpu002  0 changed  5 unchanged  1.0 s" in out
    assert SECRET not in out
