"""Jobs under systemd, the lock between two connections, and the Docker SDK over a session."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from provision.errors import HostError, HostRefused, SessionLost
from provision.host.connect import RootSession, connect
from provision.resources.base import Job, Progress
from provision.values import Secret
from tests.lab.hosts import LabHost
from tests.lab.images import ROOT_PASSWORD, SUDO_PASSWORD
from tests.lab.reached import Desk
from tests.lab.wait import until


@pytest.fixture
def desk(tmp_path: Path, host: LabHost) -> Desk:
    """A control machine that trusts the host."""
    return Desk.at(tmp_path / "desk").knows(host)


def test_a_job_is_a_unit_with_progress_and_a_status(desk: Desk, host: LabHost) -> None:
    seen: list[Progress] = []

    def parse(line: str) -> Progress | None:
        return Progress("pulling", int(line), 4) if line.isdecimal() else None

    script = """
        systemctl is-active provision-unit-test
        for i in 1 2 3 4; do echo $i; sleep 0.3; done
        exit 3
    """
    with desk.session(host) as session:
        answer = session.job(Job("unit-test", script, progress=parse), seen.append)
        assert (answer.rc, answer.out.split()) == (3, [b"active", b"1", b"2", b"3", b"4"])
        assert [step.done for step in seen] == sorted(step.done for step in seen)
        assert seen[-1] == Progress("pulling", 4, 4)
        assert session.jobs() == []
        assert session.requests <= 10
    assert host.exec("systemctl status provision-unit-test").rc == 4  # collected


def test_a_job_outlives_its_connection_and_is_rejoined(desk: Desk, host: LabHost) -> None:
    job = Job("outlives", "echo begun; until [ -f /run/go ]; do sleep 0.1; done; echo ended; exit 6")
    lost: list[SessionLost] = []
    first = connect(desk.target(host))

    def work() -> None:
        try:
            first.job(job)
        except SessionLost as error:
            lost.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: host.exec("grep begun /run/provision/jobs/outlives/log").rc == 0, "the start of the job", 20)
    host.check("pkill -KILL -u admin sshd")
    thread.join(20)
    assert len(lost) == 1
    with desk.session(host) as second:
        assert second.jobs() == ["outlives"]
        answer = second.job(job, lambda _step: host.put("/run/go", b""))
        assert (answer.rc, answer.out) == (6, b"begun\nended\n")
        assert second.jobs() == []


def test_secrets_of_a_job_stand_in_no_argument_unit_or_log(desk: Desk, host: LabHost) -> None:
    script = """
        printf %s "$KEY" | sha256sum
        cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 's3cr3t[-]value'
        systemctl show provision-secret | grep -c 's3cr3t[-]value'
        grep -rl 's3cr3t[-]value' /run/provision /run/systemd /var/log | wc -l
    """
    with desk.session(host) as session:
        answer = session.job(Job("secret", script, secrets={"KEY": "s3cr3t-value"}))
    digest, _, *counts = answer.text.split()
    assert digest == hashlib.sha256(b"s3cr3t-value").hexdigest()
    assert counts == ["0", "0", "0"]


def test_a_stalled_job_is_stopped_with_all_that_it_started(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as session:
        answer = session.job(Job("stalls", "echo up; sleep 3456787 & sleep 3456787", stall=1))
    assert (answer.rc, answer.complaint) == (124, "no progress for 1 s")
    assert host.exec("pgrep -f 'sleep 345678[7]'").rc == 1


def test_a_job_that_is_killed_on_the_host(desk: Desk, host: LabHost) -> None:
    def kill(_step: Progress) -> None:
        host.exec("systemctl kill -s KILL provision-killed")

    with desk.session(host) as session:
        answer = session.job(Job("killed", "echo up; sleep 60"), kill)
    assert (answer.rc, "ended from outside" in answer.complaint) == (137, True)


def test_the_lock_is_refused_with_who_and_since_when(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as one, desk.session(host) as two:
        one.lock("alice@desk, provision apply")
        one.run("sleep 30 & exit 0")
        one.job(Job("leaves-a-child", "setsid sleep 30 & exit 0"))
        with pytest.raises(HostRefused, match=r"another run holds the lock: alice@desk, provision apply, since 20"):
            two.lock("bob@desk")
        one.close()
        two.lock("bob@desk")


def test_the_lock_of_a_connection_that_was_cut_is_free(desk: Desk, host: LabHost) -> None:
    one = connect(desk.target(host))
    one.lock("alice@desk")
    host.check("pkill -KILL -u admin sshd")
    with desk.session(host) as two:
        two.lock("bob@desk")
    one.close()


def tiny_image() -> bytes:
    """A root file system with one file, as `docker import` takes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 2 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    return stream.getvalue()


def exercise(client: docker.DockerClient) -> None:
    """Images, volumes and containers, made and removed over the session."""
    image = client.api.import_image_from_data(tiny_image(), repository="session-test", tag="1")
    assert "sha256" in image
    saved = b"".join(client.images.get("session-test:1").save(named=True))
    client.images.remove("session-test:1")
    assert [loaded.tags for loaded in client.images.load(io.BytesIO(saved))] == [["session-test:1"]]
    assert client.containers.list() == []
    volume = client.volumes.create("session-test", labels={"a": "b"})
    container = client.containers.create("session-test:1", command=["/hello"], name="session-test")
    assert client.containers.get("session-test").attrs["Config"]["Env"] in (None, [])
    assert [found.name for found in client.containers.list(all=True)] == ["session-test"]
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("not-there")
    container.remove()
    volume.remove()
    client.images.remove("session-test:1")


@pytest.mark.parametrize(
    ("variant", "how"),
    [
        ("sudo-password", {"become_password": Secret.of(SUDO_PASSWORD)}),
        ("su-only", {"become_method": "su", "become_password": Secret.of(ROOT_PASSWORD)}),
        ("max-sessions-1", {}),
    ],
)
def test_the_docker_sdk_works_over_a_session(
    tmp_path: Path, hosts: Callable[..., LabHost], variant: str, how: dict[str, object]
) -> None:
    there = hosts(variant=variant)
    install = "apt-get install -q -y --no-install-recommends docker.io docker-cli iptables"
    with Desk.at(tmp_path / "desk").knows(there).session(there, **how) as session:
        with pytest.raises(HostError, match="the docker command is not installed"):
            session.docker()
        assert session.job(Job("install-docker", install, timeout=300)).rc == 0
        client = session.docker()
        assert session.docker() is client
        exercise(client)
        assert session.run("echo still in step").out == b"still in step\n"
        session.run("systemctl stop docker.socket docker.service")
        assert isinstance(session, RootSession)


def test_an_engine_that_does_not_run_is_said_in_one_line(desk: Desk, host: LabHost) -> None:
    host.check("mkdir -p /usr/local/bin && printf '#!/bin/sh\\nexit 1\\n' >/usr/local/bin/docker")
    host.check("chmod +x /usr/local/bin/docker")
    with (
        desk.session(host) as session,
        pytest.raises(HostError, match=r"the Docker engine does not answer: .*; is docker\.service running\?"),
    ):
        session.docker()
    host.check("rm /usr/local/bin/docker")
