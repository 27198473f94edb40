"""What is asked of firewalld about Docker's bridge, in real shells."""

from pathlib import Path

import pytest

from provision.resources.docker_zone import DockerZone
from tests.unit.resources.here import Here

BRIDGE = "/sys/class/net/docker0/mtu"
FIREWALLD = "/sys/fs/cgroup/system.slice/firewalld.service/pids.max"


@pytest.fixture(params=[("dash",), ("busybox", "sh"), ("bash", "--posix")], ids=["dash", "busybox", "bash"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    """firewalld runs, Docker's bridge is there, and in no zone."""
    made = Here(tmp_path, shell=request.param, commands={"busctl": 'cat "$ROOT/zone"'})
    made.put(BRIDGE)
    made.put(FIREWALLD)
    made.put("zone", 's ""\n')
    return made


def test_a_bridge_in_no_zone_is_an_engine_that_does_not_know_firewalld(here: Here) -> None:
    change = here.plan(DockerZone())
    assert change is not None
    assert change.action == "restart"


@pytest.mark.parametrize("zone", ["docker", "trusted"])
def test_a_bridge_in_any_zone_is_right(here: Here, zone: str) -> None:
    here.put("zone", f's "{zone}"\n')
    section = here.sh(DockerZone().probe())
    assert DockerZone().observe(section) == zone
    assert here.plan(DockerZone()) is None


@pytest.mark.parametrize("missing", [BRIDGE, FIREWALLD])
def test_without_firewalld_or_the_bridge_nobody_is_asked(here: Here, missing: str) -> None:
    here.path(missing).unlink()
    here.path(missing).parent.rmdir()
    assert here.plan(DockerZone()) is None


def test_a_docker_that_leaves_the_network_alone_is_left_alone(here: Here) -> None:
    here.put("/etc/docker/daemon.json", '{\n    "iptables" : false\n}\n')
    assert here.plan(DockerZone()) is None
    here.put("/etc/docker/daemon.json", '{"iptables": true, "ip-forward": false}')
    assert here.plan(DockerZone()) is not None


def test_a_firewalld_that_does_not_answer_is_no_reason_to_restart_the_engine(here: Here) -> None:
    here.path("zone").unlink()
    assert here.plan(DockerZone()) is None
