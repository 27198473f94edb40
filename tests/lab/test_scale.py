"""Many hosts at once, some of which are none: the others are not slowed, and nothing is left."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from provision.twin.server import free_port
from tests.lab.cli import ROOT, Office
from tests.lab.light import light_hosts
from tests.lab.strange import endless, hanging

HOSTS = 20


def test_a_fleet_with_a_silent_host_and_one_that_sends_a_gigabyte(tmp_path: Path) -> None:
    office = Office(tmp_path / "office")
    office.variables["provision_roles"] = ["files"]
    office.variables["files"] = {"files": {f"/etc/office/{number}": f"{number}\n" for number in range(12)}}
    with light_hosts(HOSTS) as hosts, hanging() as silent, endless() as noisy:
        office.known_hosts.write_text("".join(host.known_hosts for host in hosts))
        strange = {"silent": silent, "noisy": noisy, "down1": free_port(), "down2": free_port()}
        for name, port in (*strange.items(), *((host.name, host.port) for host in hosts)):
            office.hosts[name] = {"ansible_host": "127.0.0.1", "ansible_port": port}
        # Its greeting is waited for, three times as long as its connection.
        office.hosts["silent"]["ansible_ssh_common_args"] = (
            f"-o ConnectTimeout=2 -o UserKnownHostsFile={office.known_hosts}"
        )
        office.check("apply", "light*")
        words = (sys.executable, "-m", "tests.lab.observed_run", "apply", "-i", str(office.write()))
        ended = subprocess.run(
            (*words, "--forks", "30", "--json"), cwd=ROOT, env=office.environment(), capture_output=True, check=True
        )
    *events, left = [json.loads(line) for line in ended.stdout.splitlines()]
    finished = {event["host"]: event for event in events if event["event"] == "host-finished"}
    errors = {finished[host.name]["error"] for host in hosts}
    assert errors == {""}, errors
    assert {finished[name]["status"] for name in strange} == {"unreachable"}
    assert "is no sshd: what comes is no greeting of SSH" in finished["noisy"]["error"]
    order = list(finished)
    # Only the silent one is waited for, and nobody waits behind it.
    assert order[-1] == "silent"
    assert left["after"] == left["before"], ended.stderr.decode()
    assert left["memory"] < 150 << 20


def test_ctrl_c_twice_ends_the_program_while_a_host_is_still_being_connected_to(tmp_path: Path) -> None:
    office = Office(tmp_path / "office")
    office.variables |= {"provision_roles": ["files"], "ansible_ssh_common_args": "-o ConnectTimeout=3600"}
    with hanging() as silent:
        office.hosts["silent"] = {"ansible_host": "127.0.0.1", "ansible_port": silent}
        process = office.start("apply", "--json")
        assert process.stdout
        assert process.stderr
        try:
            while "host-started" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert "interrupted" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    finished, ended = [json.loads(line) for line in out.splitlines()]
    assert (finished["status"], finished["error"]) == ("interrupted", "silent: not waited for any longer")
    assert ended["event"] == "run-finished"
