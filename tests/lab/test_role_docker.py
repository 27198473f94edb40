"""The role docker on a host that has Docker's own engine already, with somebody's container running on it."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import packages
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.mirror import mirror
from tests.lab.rootfs import rootfs

FOREIGN = {"labels": ["team=office"], "log-opts": {"max-size": "1g", "compress": "false"}}
NEEDS_DOCKER_IO = b"""\
Package: office-builds
Version: 1
Architecture: all
Maintainer: lab
Depends: docker.io
Description: somebody's own
"""
UNKNOWN = "don't match any configuration option: no-such-key"


@dataclass
class Adopted:
    """A host with docker-ce and a running container, and its inventory."""

    host: LabHost
    office: Office

    def now(self) -> dict[str, str]:
        """What must stay: the container, since when it runs, the engine's packages."""
        state = self.host.check("docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.State.Pid}}' theirs")
        installed = self.host.check("dpkg-query -W -f '${Package}=${Version} ${db:Status-Abbrev}\n'")
        engine = [line for line in installed.splitlines() if re.match(r"(docker|containerd|runc)", line)]
        return {"container": state, "packages": "\n".join(engine)}

    def engine(self) -> str:
        """The engine's process."""
        return self.host.check("systemctl show --value -p MainPID docker").strip()

    def info(self, of: str) -> Any:
        """A part of `docker info`."""
        return json.loads(self.host.check(f"docker info --format '{{{{json .{of}}}}}'"))

    def daemon(self) -> Any:
        """daemon.json."""
        return json.loads(self.host.check("cat /etc/docker/daemon.json"))

    def apply(self) -> tuple[str, str]:
        """Apply, again, and verify: what the first run did, and the first line of the second one's recap."""
        done = self.office.check("apply")
        again = self.office.check("apply")
        assert re.search(r"^web  0 changed  ", again, re.MULTILINE), again
        self.office.check("verify")
        return done, again


@pytest.fixture(scope="module")
def adopted(host: LabHost, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    repository = packages.docker_ce()
    archive = subprocess.run(["tar", "-C", repository.folder / "pool", "-c", "."], capture_output=True, check=True)
    host.put("/root/pool.tar", archive.stdout)
    host.put("/etc/docker/daemon.json", json.dumps(FOREIGN).encode())
    host.check("mkdir /root/pool && tar -C /root/pool -xf /root/pool.tar && rm /root/pool.tar")
    host.check("apt-get install -qq -y --no-install-recommends /root/pool/*.deb && rm -r /root/pool")
    host.put("/root/tiny.tar", rootfs("1"))
    host.check("docker import /root/tiny.tar tiny:1 && docker run -d --name theirs tiny:1 sleep 100000")
    office = Office(tmp_path_factory.mktemp("office"))
    office.add(host, "web", provision_roles=["docker"])
    return Adopted(host, office)


def test_an_engine_that_is_there_is_kept_and_so_is_what_runs_on_it(adopted: Adopted) -> None:
    before, engine = adopted.now(), adopted.engine()
    assert "docker-ce=5:26" in before["packages"]
    assert adopted.info("LiveRestoreEnabled") is False
    planned = adopted.office.check("plan")
    assert re.findall(r"(\w+) +(?:package|docker-config|service|absent)\S*", planned) == ["update", "restart"], planned
    adopted.apply()
    assert adopted.now() == before
    assert adopted.engine() != engine
    assert adopted.info("LiveRestoreEnabled") is True
    assert adopted.daemon() == {
        "labels": ["team=office"],
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3", "compress": "false"},
        "live-restore": True,
    }


def test_a_mirror_needs_a_reload_and_no_restart(adopted: Adopted) -> None:
    before, engine = adopted.now(), adopted.engine()
    adopted.office.variables["docker"] = {"mirrors": ["https://mirror.office.lan"], "insecure_registries": ["r.lan:5"]}
    done, _ = adopted.apply()
    assert re.search(r"reload +service:docker", done), done
    assert adopted.now() == before
    assert adopted.engine() == engine
    assert adopted.info("RegistryConfig.Mirrors") == ["https://mirror.office.lan/"]
    assert adopted.info("RegistryConfig.IndexConfigs")["r.lan:5"]["Secure"] is False


def test_a_configuration_that_the_engine_refuses_changes_nothing(adopted: Adopted) -> None:
    before, engine, there = adopted.now(), adopted.engine(), adopted.host.check("cat /etc/docker/daemon.json")
    adopted.office.variables["docker"] = {"daemon": {"no-such-key": 1}}
    ended = adopted.office.run("apply")
    adopted.office.variables["docker"] = {}
    assert ended.rc == 1
    told = [line for line in (ended.out + ended.err).splitlines() if "no-such-key:" in line or UNKNOWN in line]
    assert len(told) == 1, ended.out + ended.err
    assert told[0].startswith("web: docker-config:daemon.json: "), told
    assert UNKNOWN in told[0]
    assert "Traceback" not in ended.err
    assert adopted.host.check("cat /etc/docker/daemon.json") == there
    assert "daemon.json.provision" not in adopted.host.check("ls -A /etc/docker")
    assert (adopted.now(), adopted.engine()) == (before, engine)


def test_docker_s_own_engine_comes_from_a_repository_whose_key_is_the_declared_one(
    hosts: Callable[..., LabHost], tmp_path: Path
) -> None:
    host, repository = hosts(), packages.docker_ce()
    host.check("apt-get install -qq -y --no-install-recommends gpg")
    office = Office(tmp_path)
    office.add(host, "web", provision_roles=["docker"])
    with mirror() as served:
        served.files = repository.files("/linux/debian")
        ours = {"channel": "docker-ce", "repository": f"{served.url}/linux"}
        office.variables["docker"] = {**ours, "fingerprint": "0" * 40}
        refused = office.run("apply")
        assert refused.rc == 1
        why = f"web: repository:docker: the key has the fingerprint {repository.fingerprint}, expected is {'0' * 40}"
        why += ": ask its owner which is right"
        assert [line for line in refused.out.splitlines() if "fingerprint" in line] == [why]
        assert host.check("ls /etc/apt/sources.list.d /etc/apt/keyrings").count("docker") == 0
        assert not [path for path in served.asked if path.endswith(".deb")]
        assert host.exec("command -v dockerd").rc

        office.variables["docker"] = {**ours, "fingerprint": repository.fingerprint}
        # As others' instructions leave it; apt would refuse both together.
        line = f"deb [signed-by=/usr/share/keyrings/docker.asc] {served.url}/linux/debian trixie stable\n"
        older = "/etc/apt/sources.list.d/office.list"
        host.put(older, f"{line}deb http://office.invalid/debian trixie main\n".encode())
        refused = office.run("apply")
        why = f"web: repository:docker: {older} names the same repository beside others: take its lines out there"
        assert (refused.rc, why in refused.out) == (1, True), refused.out
        assert host.check("ls /etc/apt/sources.list.d /etc/apt/keyrings").count("docker") == 0
        host.put(older, f"# deb http://office.invalid/debian trixie main\n{line}".encode())
        assert f"in place of {older}" in office.check("plan")
        office.check("apply")
        assert line in host.check(f"cat {older}.disabled")
        assert re.search(r"^web  0 changed  ", office.check("apply"), re.MULTILINE)
        office.check("verify")
        assert [path for path in served.asked if path.endswith(".deb")]
    assert host.check("dpkg-query -W -f '${Version}' docker-ce").startswith("5:26.1.5-1~debian.13")
    assert host.check("docker version --format '{{.Server.Version}}'").startswith("26.1.5")


def test_the_declared_engine_replaces_another_only_when_that_is_said_and_containers_run_again(
    hosts: Callable[..., LabHost], tmp_path: Path
) -> None:
    host, repository = hosts(), packages.docker_ce()
    host.check("apt-get install -qq -y --no-install-recommends docker.io docker-cli iptables gpg")
    host.put("/root/tiny.tar", rootfs("1"))
    host.check("docker import /root/tiny.tar tiny:1")
    for name, policy in (("theirs", "unless-stopped"), ("once", "no"), ("stopped", "no")):
        host.check(f"docker run -d --name {name} --restart {policy} tiny:1 sleep 100000")
    host.check("docker kill stopped")
    made = host.check("docker ps -a -q --no-trunc | sort")
    office = Office(tmp_path)
    office.add(host, "web", provision_roles=["docker"])

    def running() -> list[str]:
        return sorted(host.check("docker ps --format '{{.Names}}'").split())

    with mirror() as served:
        served.files = repository.files("/linux/debian")
        ours = {"channel": "docker-ce", "repository": f"{served.url}/linux", "fingerprint": repository.fingerprint}
        office.variables["docker"] = dict(ours)
        kept = office.check("apply")
        assert "docker.io is kept, docker-ce is declared; docker.replace: true exchanges them" in kept
        assert "stops its 2 running containers" in kept
        assert host.exec("test -e /usr/bin/dockerd").rc
        # With live-restore containers outlive the engine: nothing would have to be started again.
        office.variables["docker"]["live_restore"] = False
        office.check("apply")
        office.variables["docker"]["replace"] = True
        planned = office.check("plan")
        told = "docker.io -> docker-ce; containers stop for it and are started again: "
        assert told in planned, planned
        host.put("/root/builds/DEBIAN/control", NEEDS_DOCKER_IO)
        host.check("dpkg-deb -b /root/builds && dpkg -i /root/builds.deb")
        refused = office.run("apply")
        assert refused.rc == 1
        assert "office-builds would go with the engine: remove it, or leave out docker.replace" in refused.out
        assert running() == ["once", "theirs"]
        host.check("dpkg -r office-builds")
        done = office.check("apply")
        assert re.search(r"^web  0 changed  ", office.check("apply"), re.MULTILINE)
        office.check("verify")
    installed = host.check("dpkg-query -W -f '${Package} ${db:Status-Status}\n'")
    assert [name for name in ("docker.io", "containerd", "runc") if f"\n{name} installed" in installed] == []
    assert "\ndocker-ce installed" in installed
    assert running() == ["once", "theirs"], done
    assert host.check("docker ps -a -q --no-trunc | sort") == made
