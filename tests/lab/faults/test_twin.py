"""Twins that cannot be made as wished: one clear line, nothing lost, nothing left behind."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
            monkeypatch.setattr(hosts, "free_port", lambda at: taken)
            with pytest.raises(HostError, match=f"a: its twin does not start: .*{taken}.*; end what holds the port"):
                twin.up(material, {"a"}, key, said.append)
            assert (twin.hosts(), said) == ([], [])
            ports = iter((taken, free_port()))
            monkeypatch.setattr(hosts, "free_port", lambda at: next(ports))
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


@contextmanager
def an_engine_elsewhere() -> Iterator[str]:
    """DOCKER_HOST of this machine's engine as if it were another machine's: by TCP, at an address of its own."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield f"tcp://127.0.0.2:{server.getsockname()[1]}"


def _serve(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            asking, _ = server.accept()
            engine = socket.socket(socket.AF_UNIX)
            engine.connect("/var/run/docker.sock")
            for one, other in ((asking, engine), (engine, asking)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def test_twins_on_an_engine_elsewhere_are_reached_there(fleet: Fleet) -> None:
    fleet.write({"all": {"vars": {"provision_roles": []}, "hosts": {"a": {}}}})
    own = fleet.folder / "tests" / "test_own.py"
    own.parent.mkdir()
    own.write_text("def test_it(host):\n    assert host.check_output('hostname') == 'a'\n")
    with an_engine_elsewhere() as engine:
        said = fleet.check("twin", "test", "--keep", DOCKER_HOST=engine)
        assert "test_own.py::test_it  ok" in said
        assert "twin test: passed" in said
        (twin,) = map(json.loads, fleet.check("twin", "list", "--json", DOCKER_HOST=engine).splitlines())
        assert [host["at"] for host in twin["hosts"]] == ["127.0.0.2"]
        (bindings,) = client().containers.get(fleet.containers()["a"]).attrs["HostConfig"]["PortBindings"].values()
        assert [one["HostIp"] for one in bindings] == [""]
        assert fleet.check("twin", "ssh", "a", "--", "hostname", DOCKER_HOST=engine) == "a\n"
        own.write_text("def test_it(host)\n")
        wrong = fleet.run("twin", "test", DOCKER_HOST=engine)
        told = "tests/test_own.py:1: SyntaxError: expected ':'; its tests were not run"
        assert (wrong.rc, f"  {told}" in wrong.out.splitlines()) == (3, True), wrong.out
    assert fleet.containers() == {}


def test_an_engine_that_this_user_may_not_use(fleet: Fleet) -> None:
    # All is imported before root's rights are given up: nobody may read where Python is.
    script = "import os; from provision.twin.hosts import engine; engine(); os.setgroups([]); os.setgid(65534); "
    script += "os.setuid(65534)\ntry:\n    engine()\nexcept Exception as error:\n    print(error)"
    words = [sys.executable, "-c", script]
    ended = subprocess.run(words, env=fleet.environment(), capture_output=True, text=True, check=False)
    assert ended.stdout == "this user may not use Docker; add it to the group docker, or use sudo\n", ended.stderr
