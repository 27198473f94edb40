"""Jobs and the lock where systemd does not run, in every shell."""

import re
import threading
import time
from pathlib import Path

import pytest

from provision.errors import HostError, HostRefused, SessionLost
from provision.host.connect import RootSession
from provision.resources.base import Job, Progress
from tests.lab.wait import until
from tests.unit.host.sandbox import Sandbox

# bash differs from these two in nothing that jobs use; the protocol itself is tested in all three
pytestmark = pytest.mark.parametrize("sandbox", ["dash", "busybox"], indirect=True)


def test_a_job_answers_with_its_status_and_the_end_of_its_log(session: RootSession, tmp_path: Path) -> None:
    answer = session.job(Job("short", "echo one; echo two >&2; exit 3"))
    assert (answer.rc, answer.out, answer.complaint) == (3, b"one\ntwo\n", "two")
    assert not (tmp_path / "provision" / "jobs" / "short").exists()


def test_progress_comes_while_the_job_runs(session: RootSession) -> None:
    seen: list[str] = []
    script = "i=0; while [ $i -lt 4 ]; do i=$((i + 1)); echo $i; sleep 0.4; done"

    def parse(line: str) -> Progress | None:
        return Progress(f"step {line}", int(line), 4) if line != "3" else None

    answer = session.job(Job("steps", script, progress=parse), lambda step: seen.append(step.text))
    assert answer.rc == 0
    assert len(seen) >= 2
    assert list(dict.fromkeys(seen)) == sorted(set(seen))
    assert seen[-1] == "step 4"


def test_a_job_without_a_parser_reports_its_last_line(session: RootSession) -> None:
    seen: list[str] = []
    session.job(Job("plain", "printf 'a\\rb\\n\\n\\033[31mc\\n'; sleep 0.3"), lambda step: seen.append(step.text))
    assert seen[-1] == "[31mc"


def test_a_line_that_the_parser_refuses_ends_the_job(session: RootSession) -> None:
    def parse(line: str) -> Progress | None:
        if "error" in line:
            raise ValueError("file does not exist")
        return None

    started = time.monotonic()
    answer = session.job(Job("refused", "echo '{\"error\": 1}'; sleep 60", progress=parse, retries=5))
    assert (answer.rc, answer.complaint) == (1, "file does not exist")
    assert time.monotonic() - started < 20
    assert session.jobs() == []


def test_secrets_reach_a_job_and_no_file_keeps_them(session: RootSession, tmp_path: Path) -> None:
    answer = session.job(Job("secret", 'echo "$KEY" | tr a-z A-Z; ls $PWD', secrets={"KEY": "it's 100%\nhid"}))
    assert answer.out.startswith(b"IT'S 100%\nHID\n")
    running = Job("holds", "sleep 0.5", secrets={"KEY": "s3cr3t"})
    session.job(running)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    assert left == []


def test_a_stalled_job_is_ended_and_tried_again(session: RootSession, tmp_path: Path) -> None:
    seen: list[str] = []
    script = "echo go >>/run/starts; if [ $(wc -l </run/starts) = 1 ]; then echo stuck; sleep 3456788; fi; echo done"
    answer = session.job(Job("stalls", script, stall=0.5, retries=1), lambda step: seen.append(step.text))
    assert (answer.rc, answer.out) == (0, b"done\n")
    assert "no progress for 0 s; attempt 2 of 2 in 0 s" in seen
    assert (tmp_path / "starts").read_text() == "go\n" * 2


def test_a_failure_is_tried_again_as_often_as_said(session: RootSession, tmp_path: Path) -> None:
    answer = session.job(Job("fails", "echo go >>/run/starts; exit 9", retries=1))
    assert answer.rc == 9
    assert (tmp_path / "starts").read_text() == "go\n" * 2


def test_a_job_that_takes_too_long_is_stopped(session: RootSession) -> None:
    answer = session.job(Job("long", "sleep 60", timeout=0.5, retries=3))
    assert (answer.rc, answer.complaint) == (124, "not done after 0 s; it was stopped")
    assert session.jobs() == []


def test_a_job_that_is_killed_from_outside(session: RootSession, tmp_path: Path) -> None:
    def kill(step: Progress) -> None:
        session_two.run('kill -9 "-$(cat /run/provision/jobs/killed/pid)"')

    session_two = Sandbox(tmp_path).session()
    answer = session.job(Job("killed", "echo up; sleep 60"), kill)
    session_two.close()
    assert answer.rc == 137
    assert "ended from outside" in answer.complaint


def test_a_running_job_is_found_and_rejoined_after_the_session_is_lost(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(
        "rejoin", "echo wait; echo go >>/run/starts; while [ ! -f /run/finish ]; do sleep 0.1; done; echo end; exit 5"
    )
    first = sandbox.session()
    lost: list[SessionLost] = []

    def run() -> None:
        try:
            first.job(job)
        except SessionLost as error:
            lost.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: (tmp_path / "starts").exists(), "the start of the job", 20)
    first.close()
    thread.join(20)
    second = sandbox.session()
    assert [str(error) for error in lost]
    assert second.jobs() == ["rejoin"]
    answer = second.job(job, lambda _step: (tmp_path / "finish").touch())
    second.close()
    assert (answer.rc, answer.out) == (5, b"wait\nend\n")
    assert (tmp_path / "starts").read_text() == "go\n"


def test_a_finished_job_is_run_again_not_believed(session: RootSession, tmp_path: Path) -> None:
    stale = tmp_path / "provision" / "jobs" / "old"
    stale.mkdir(parents=True)
    (stale / "rc").write_text("0\n")
    assert session.jobs() == []
    assert session.job(Job("old", "exit 6")).rc == 6


def test_a_long_log_is_read_to_its_end(session: RootSession) -> None:
    lines = 0

    def count(line: str) -> Progress | None:
        nonlocal lines
        lines += 1
        return None

    answer = session.job(
        Job("talks", "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); echo line $i; done", progress=count)
    )
    assert lines == 60000
    assert answer.out.endswith(b"line 60000\n")
    assert len(answer.out) == 64 << 10


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "a b", "a;b", "x" * 201])
def test_a_name_that_no_unit_can_have(session: RootSession, name: str) -> None:
    with pytest.raises(HostError, match="is not the name of a job"):
        session.job(Job(name, "true"))


def test_the_lock_is_one_session_s_until_it_ends(sandbox: Sandbox) -> None:
    one, two = sandbox.session(), sandbox.session()
    one.lock("alice@desk\n\x1b[31m")
    one.lock("alice@desk")
    with pytest.raises(HostRefused, match=r"another run holds the lock: alice@desk.*, since 20\d\d-.* \(0 min\)"):
        two.lock("bob@desk")
    one.close()
    two.lock("bob@desk")
    two.close()


def test_what_a_script_leaves_running_does_not_hold_the_lock(sandbox: Sandbox) -> None:
    one, two = sandbox.session(), sandbox.session()
    one.lock("alice")
    one.run("sleep 20 & exit 0")
    one.job(Job("leaves", "sleep 20 & exit 0"))
    one.close()
    two.lock("bob")
    two.close()


def test_a_lock_whose_session_was_cut_off_is_free(sandbox: Sandbox) -> None:
    one, two = sandbox.session(), sandbox.session()
    one.lock("alice")
    one._shell._wire.close()
    two.lock("bob")
    two.close()
    one.close()


def test_a_holder_that_has_been_silent_is_ended_unless_it_runs_something(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = sandbox.session(), sandbox.session()
    one.lock("alice")
    two.run("touch -d 2001-01-01 /run/provision/beat")
    busy = threading.Thread(target=lambda: one.run("touch /run/busy; while [ ! -f /run/go ]; do sleep 0.1; done"))
    busy.start()
    until(lambda: (tmp_path / "busy").exists(), "a script of the holder", 10)
    with pytest.raises(HostRefused):
        two.lock("bob")
    (tmp_path / "go").touch()
    busy.join(20)
    monkeypatch.setattr("provision.host.lock._WAIT", 20.0)
    two.lock("bob")
    with pytest.raises(SessionLost):
        one.run("echo")
    two.close()
    one.close()


def test_a_heartbeat_shows_that_the_holder_is_there(sandbox: Sandbox, tmp_path: Path) -> None:
    session = sandbox.session()
    session.lock("alice")
    requests = session.requests
    session.run("touch -d 2001-01-01 /run/provision/beat")
    session._shell.beat()
    assert time.time() - (tmp_path / "provision" / "beat").stat().st_mtime < 60
    assert session.requests == requests + 1
    session.close()
    assert re.fullmatch(r"alice\n\d+\n\d+\n", (tmp_path / "provision" / "owner").read_text())
