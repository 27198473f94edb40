"""Twins that cannot be made as wished: one clear line, nothing lost, nothing left behind."""

import json
import signal
import socket
import subprocess

import pytest

from provision.errors import HostError
from provision.twin import hosts, names
from provision.twin.hosts import Material, Twin
from provision.twin.server import free_port
from tests.lab import images
from tests.lab.machine import client
from tests.lab.twins import Fleet
from tests.lab.wait import until


def test_what_a_killed_run_left_is_finished_by_the_next_and_removed_by_down(fleet: Fleet) -> None:
    with fleet.start("twin", "up") as killed:
        until(fleet.containers, "the first container", 60)
        killed.send_signal(signal.SIGKILL)
    # As a run leaves it that was killed between making and starting a host.
    until(lambda: killed.poll() is not None, "its end", 10)
    name = names.object_name(names.twin_id(fleet.path), "c")
    if (known := fleet.containers().get("c")) is not None:
        client().containers.get(known).remove(force=True, v=True)
    labels = {
        names.LABEL: names.twin_id(fleet.path),
        names.INVENTORY_LABEL: str(fleet.path.resolve()),
        names.HOST_LABEL: "c",
    }
    half = client().containers.create(images.tag("debian-13", "plain"), name=name, labels=labels)
    fleet.check("twin", "up")
    assert set(fleet.containers()) == {"a.office.lan", "b", "c"}
    assert fleet.containers()["c"] != half.id
    assert fleet.check("twin", "ssh", "c", "--", "hostname").strip() == "c"
    fleet.check("twin", "down")
    filters = {"label": f"{names.LABEL}={names.twin_id(fleet.path)}"}
    assert fleet.containers() == {}
    assert client().networks.list(filters=filters) == client().volumes.list(filters=filters) == []


def test_a_foreign_container_of_that_name_is_told_and_stays(fleet: Fleet) -> None:
    name = names.object_name(names.twin_id(fleet.path), "b")
    foreign = client().containers.create(images.tag("debian-13", "plain"), name=name)
    try:
        refused = fleet.run("twin", "up")
        assert refused.rc == 1
        line = f"b: a container {name} is there that is not of this twin; remove or rename it"
        assert refused.err.splitlines() == [line]
        fleet.check("twin", "down")
        foreign.reload()
    finally:
        foreign.remove(force=True)
    assert fleet.containers() == {}


def test_without_an_engine_the_test_ends_with_one_line_and_a_proof_that_says_so(fleet: Fleet) -> None:
    nobody = fleet.run("twin", "test", "--proof", "proof.json", DOCKER_HOST="unix:///nowhere.sock")
    assert (nobody.rc, len(nobody.err.splitlines())) == (3, 1)
    assert "twins need a Docker engine on this machine, and none answers" in nobody.err
    proof = json.loads((fleet.folder / "proof.json").read_text())
    assert proof["passed"] is False
    assert "none answers" in proof["problems"][0]


def test_a_port_that_is_taken_is_left_for_another(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    key = subprocess.run(["ssh-keygen", "-y", "-f", images.key()], capture_output=True, text=True, check=True).stdout
    material = {"a": Material(images.tag("debian-13", "plain"))}
    twin = Twin(client(), fleet.path)
    said: list[str] = []
    try:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            monkeypatch.setattr(hosts, "free_port", lambda: taken)
            with pytest.raises(HostError, match=f"a: its twin does not start: .*{taken}.*; end what holds the port"):
                twin.up(material, {"a"}, key, said.append)
            assert (twin.hosts(), said) == ([], [])
            ports = iter((taken, free_port()))
            monkeypatch.setattr(hosts, "free_port", lambda: next(ports))
            (made,) = twin.up(material, {"a"}, key, said.append)
            assert (made.status, made.port == taken, len(said)) == ("running", False, 1)
            # One that was given away while the twin was down: it is told, and the twin is still there.
            client().containers.get(made.container).stop(timeout=1)
        with socket.create_server(("127.0.0.1", made.port)):
            with pytest.raises(
                HostError, match=f"a: its twin does not start: .*{made.port}.*; end what holds the port"
            ):
                twin.up(material, {"a"}, key, said.append)
            assert [host.name for host in twin.hosts()] == ["a"]
        twin.up(material, {"a"}, key, said.append)
        assert len(said) == 1
    finally:
        twin.down()
