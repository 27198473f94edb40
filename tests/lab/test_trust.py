"""`provision trust` on a real host."""

import json
from pathlib import Path

import pytest

from provision.cli import run
from provision.host.connect import connect
from tests.lab import images
from tests.lab.hosts import LabHost
from tests.lab.reached import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A control machine that knows no host."""
    return Desk.at(tmp_path / "desk")


@pytest.fixture
def inventory(desk: Desk, host: LabHost, tmp_path: Path) -> str:
    """An inventory with the host and one that is down."""
    file = tmp_path / "hosts.yml"
    file.write_text(
        f"""
all:
  vars:
    ansible_host: 127.0.0.1
    ansible_user: admin
    ansible_ssh_private_key_file: {images.key()}
    ansible_ssh_common_args: -F {desk.config}
  hosts:
    gpu01: {{ansible_port: {host.port}}}
    down: {{ansible_port: 1}}
    here: {{ansible_connection: local}}
"""
    )
    return str(file)


def printed(host: LabHost) -> str:
    return host.check("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]


def test_a_key_is_shown_and_only_added_when_somebody_says_so(
    desk: Desk, host: LabHost, inventory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trust", "gpu01", "-i", inventory]) == 1
    said = capsys.readouterr().err
    assert f"gpu01: [127.0.0.1]:{host.port} offers ssh-ed25519 {printed(host)}; nobody is here to ask" in said
    assert desk.known_hosts.read_text() == ""
    assert run(["trust", "gpu01", "-i", inventory, "--yes"]) == 0
    assert f"{printed(host)} added to {desk.known_hosts}" in capsys.readouterr().out
    connect(desk.target(host)).close()
    assert run(["trust", "gpu01", "-i", inventory]) == 0
    assert "is trusted already" in capsys.readouterr().out
    assert len(desk.known_hosts.read_text().splitlines()) == 1


def test_a_fingerprint_that_is_expected(
    desk: Desk, host: LabHost, inventory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trust", "gpu01", "-i", inventory, "--fingerprint", "SHA256:other"]) == 1
    assert f"offers ssh-ed25519 {printed(host)}, not SHA256:other" in capsys.readouterr().err
    assert run(["trust", "gpu01", "-i", inventory, "--fingerprint", printed(host), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] is True
    connect(desk.target(host)).close()


def test_a_changed_key_is_never_accepted(
    desk: Desk, host: LabHost, inventory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = images.key().with_suffix(".pub").read_text()
    desk.known_hosts.write_text(f"[127.0.0.1]:{host.port} {key}")
    assert run(["trust", "gpu01", "-i", inventory, "--yes"]) == 4
    assert "HAS CHANGED" in capsys.readouterr().err
    assert desk.known_hosts.read_text() == f"[127.0.0.1]:{host.port} {key}"


def test_a_host_that_is_down_does_not_stop_the_others(
    desk: Desk, host: LabHost, inventory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trust", "all", "-i", inventory, "--yes"]) == 4
    said = capsys.readouterr()
    assert "down: cannot connect to 127.0.0.1:1" in said.err
    assert "here: reached by local: there is no host key" in said.out
    connect(desk.target(host)).close()


def test_a_host_that_is_not_in_the_inventory(inventory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trust", "gpu02", "-i", inventory]) == 3
    assert "gpu02" in capsys.readouterr().err
