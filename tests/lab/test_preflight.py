"""What a plan says before anything is touched, on a host with a pretended memory and sources that do not answer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost

MODEL = {"gpt-oss:20b": {"source": "127.0.0.1:2/library/gpt-oss:20b", "insecure": True}}


@pytest.fixture(scope="module")
def server(hosts: Callable[..., LabHost]) -> LabHost:
    """It says that it has 8 GB of memory, and something else has Ollama's port."""
    host = hosts()
    host.check("mkdir -p /etc/provision /srv/pretended/proc && echo /srv/pretended >/etc/provision/probe-root")
    memory(host, 8_000_000)
    unit = "[Socket]\nListenStream=127.0.0.1:11434\nAccept=yes\n"
    host.put("/etc/systemd/system/squatter.socket", unit.encode())
    host.put("/etc/systemd/system/squatter@.service", b"[Service]\nExecStart=/bin/true\n")
    host.check("systemctl start squatter.socket")
    return host


def memory(host: LabHost, kib: int) -> None:
    host.put("/srv/pretended/proc/meminfo", f"MemTotal: {kib} kB\nMemAvailable: {kib} kB\n".encode())


@pytest.fixture
def office(server: LabHost, tmp_path: Path) -> Office:
    made = Office(tmp_path / "office")
    made.add(server, provision_roles=["ollama", "models"], ollama={"mirror": "http://127.0.0.1:1"}, models=MODEL)
    return made


def test_a_model_that_cannot_fit_is_refused_before_anything_is_touched(office: Office, server: LabHost) -> None:
    for command in (("plan", "--preflight"), ("plan",), ("apply",)):
        result = office.run(*command)
        assert result.rc == 1, result.out
        told = f"{server.name}: model:gpt-oss:20b: does not fit: 15.0 GB are needed, there are 7.1 GB of memory"
        assert told in result.out
        assert "nothing was touched; --skip-preflight goes on all the same" in result.out
    assert server.check("ls /opt; getent passwd ollama || true; ls /var/lib/provision 2>/dev/null || true") == ""


def test_what_is_found_with_the_numbers_and_what_may_go_wrong(office: Office, server: LabHost) -> None:
    memory(server, 16_200_000)
    result = office.run("plan", "--preflight")
    assert result.rc == 0, result.out
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == f"{server.name}: preflight"
    assert not [line for line in lines if "change" in line]
    (fits,) = [line for line in lines if line.startswith("ok model:gpt-oss:20b")]
    assert "CPU only (16.6 GB of memory): weights 13.8 GB (known size) + context 103.8 MB (4096 tokens)" in fits
    assert any(line.startswith("ok disk /") and "release:ollama" in line for line in lines)
    assert any(line.startswith("warning port 11434: taken by systemd, and service:ollama needs it") for line in lines)
    sources = [line for line in lines if line.startswith("warning source")]
    assert ["needed by release:ollama" in line for line in sources] == [True, False]
    assert ["nobody answers there" in line for line in sources] == [True, True]
    planned = office.check("plan")
    assert "changes, " in planned
    assert "warning  port 11434" in planned
    assert "ok       disk" not in planned


def test_events_and_wrong_options(office: Office) -> None:
    (examined,) = [event for event in office.events("plan") if event["event"] == "host-examined"]
    assert {finding["level"] for finding in examined["findings"]} == {"ok", "warning"}
    result = office.run("plan", "--preflight", "--skip-preflight")
    assert (result.rc, "goes with none of" in result.err) == (3, True)
