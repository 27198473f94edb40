"""A run that ends in the middle, wherever: jobs go on, nothing half-written stays, the next run converges."""

import os
import re
import signal
import subprocess

import pytest

from tests.lab.blocking import killed_at
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.wait import until

# A job that waits until the test lets it go on.
JOB = "touch /srv/begun; while [ ! -e /srv/go ]; do sleep 0.1; done; touch /srv/files/made"


@pytest.fixture
def waiting(office: Office, host: LabHost) -> "subprocess.Popen[str]":
    """An apply that has started a job on the host."""
    host.check("rm -f /srv/begun /srv/go; mkdir -p /srv/files")
    office.variables["files"] = {"files": {"/srv/files/a": "one\n"}, "jobs": {"/srv/files/made": JOB}}
    process = office.start("apply")
    until(lambda: host.exec("ls /srv/begun").rc == 0, "the job")
    return process


def job_runs(host: LabHost) -> bool:
    return host.exec("systemctl is-active 'provision-made*'").out.strip() == "active"


def test_killed_in_a_job_the_job_goes_on_and_the_next_run_rejoins_it(
    office: Office, host: LabHost, waiting: "subprocess.Popen[str]"
) -> None:
    waiting.kill()
    waiting.communicate(timeout=60)
    assert job_runs(host)
    again = office.start("apply")
    line = until(lambda: again.stdout.readline() if again.stdout else "", "the second run")
    assert "waiting for the job made" in line
    host.check("touch /srv/go")
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "0 changed  2 unchanged" in out
    assert host.check("ls /srv/files").split() == ["a", "made"]


def test_killed_before_a_job_the_next_run_starts_it(office: Office, host: LabHost) -> None:
    office.variables["files"] = {"jobs": {"/srv/files/made": "mkdir -p /srv/files; touch /srv/files/made"}}
    killed_at(office, host, "systemd-run", "provision-made")
    assert host.exec("ls /srv/files/made").rc
    assert "1 changed" in office.check("apply")
    assert "0 changed" in office.check("apply")


@pytest.mark.parametrize("ends", ["touch /srv/files/made", "exit 1"])
def test_killed_after_a_job_ended_and_before_that_was_read(office: Office, host: LabHost, ends: str) -> None:
    host.check("rm -f /srv/begun /srv/go; mkdir -p /srv/files")
    wait = "touch /srv/begun; while [ ! -e /srv/go ]; do sleep 0.1; done"
    office.variables["files"] = {"jobs": {"/srv/files/made": f"{wait}; {ends}"}}
    process = office.start("apply")
    until(lambda: host.exec("ls /srv/begun").rc == 0, "the job")
    process.send_signal(signal.SIGSTOP)
    host.check("touch /srv/go")
    until(lambda: host.exec("ls /run/provision/jobs/made*/rc").rc == 0, "the end of the job")
    process.kill()
    process.communicate(timeout=60)
    until(lambda: host.exec("flock -n /run/provision/lock true").rc == 0, "the end of the killed run's session")
    # What it did counts; what it did not do is done again, not believed.
    office.variables["files"] = {"jobs": {"/srv/files/made": "touch /srv/files/made"}}
    assert ("0 changed" if "touch" in ends else "1 changed") in office.check("apply")
    assert "0 changed" in office.check("apply")
    assert host.check("ls -A /srv/files").split() == ["made"]


def test_ctrl_c_once_leaves_the_job_and_says_how_to_go_on(
    office: Office, host: LabHost, waiting: "subprocess.Popen[str]"
) -> None:
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "To go on: provision apply -i" in err
    assert re.search(rf"^{host.name}  interrupted  1 changed", out, re.MULTILINE)
    assert job_runs(host)
    host.check("touch /srv/go")
    office.check("apply")
    assert "0 changed  2 unchanged" in office.check("apply")


def test_ctrl_c_twice_disconnects_at_once(office: Office, host: LabHost, waiting: "subprocess.Popen[str]") -> None:
    waiting.send_signal(signal.SIGINT)
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=20)
    assert waiting.returncode in (130, -signal.SIGINT)
    host.check("touch /srv/go")
    office.check("apply")


def test_a_lost_connection_in_a_job_is_an_error_of_that_host_and_the_job_goes_on(
    office: Office, host: LabHost, waiting: "subprocess.Popen[str]"
) -> None:
    host.check("pkill -KILL -u admin sshd || pkill -KILL -f 'sshd.*admin'")
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert re.search(rf"^{host.name}: .*connection", out, re.MULTILINE)
    assert job_runs(host)
    host.check("touch /srv/go")
    office.check("apply")
    assert "0 changed  2 unchanged" in office.check("apply")


def test_a_second_run_says_who_holds_the_lock_and_since_when(
    office: Office, host: LabHost, waiting: "subprocess.Popen[str]"
) -> None:
    second = office.run("apply")
    assert second.rc == 1
    assert re.search(
        rf"^{host.name}: another run holds the lock: \S+@\S+, pid {waiting.pid}, since 20", second.out, re.M
    )
    assert f"{host.name}: 1 change, 1 unchanged" in office.check("plan")
    host.check("touch /srv/go")
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0


@pytest.mark.parametrize("after", ["change-started", "host-planned", "change-finished"])
def test_killed_at_any_event_the_next_run_converges(office: Office, host: LabHost, after: str) -> None:
    texts = {f"/srv/files/f{number}": f"{number}\n" * 1000 for number in range(20)}
    office.variables["files"] = {"files": texts, "jobs": {"/srv/files/made": "touch /srv/files/made"}}
    process = office.start("apply", "--json")
    assert process.stdout
    for line in process.stdout:
        if f'"{after}"' in line:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate(timeout=60)
    office.check("apply")
    assert "0 changed  21 unchanged" in office.check("apply")
    assert host.check("ls -A /srv/files | wc -l").strip() == "21"
