"""Hosts whose administrator runs ufw or firewalld: what is declared gets in, from a container too, and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.seeds import seeded_volume
from tests.lab.test_bridge import Bridged
from tests.lab.test_fleet import ANSWERED, DROPPED, network
from tests.lab.visitor import Visitor
from tests.lab.wait import until

IT, PASSWORD = "it@office.lan", "password-of-it"
# WEB is not the port in the container: what Docker publishes has another destination behind its own rules.
OLLAMA, WEB = 11434, 3000
# The firewall in the packages of the distribution, with the way in that an administrator leaves open.
UFW = "ufw allow 22/tcp >/dev/null && ufw --force enable >/dev/null"
ZONE = (
    "busctl call org.fedoraproject.FirewallD1 /org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.zone"
    " getZoneOfInterface s docker0"
)


@dataclass
class Guarded(Bridged):
    """The same host behind a firewall, a neighbour that may reach it, and one that may not."""

    friend: LabHost
    stranger: LabHost

    def answers(self, port: int) -> tuple[int, int]:
        """How asking the host ends for the friend and for the stranger: curl's exit status."""
        url = f"http://{self.office.hosts['chat01']['address']}:{port}/api/version"
        ask = f"curl -sS -o /dev/null --noproxy '*' --connect-timeout 2 --max-time 10 {url}"
        return self.friend.exec(ask).rc, self.stranger.exec(ask).rc

    def rules(self) -> list[str]:
        """What ufw has of ours, and of the administrator's."""
        said = self.host.check("ufw status")
        return [" ".join(line.split()) for line in said.splitlines() if re.search(r"\bALLOW\b", line)]

    def settle(self) -> str:
        """Apply, and once more for nothing; what the first one did."""
        done = self.office.check("apply", timeout=600)
        assert re.search(r"^chat01  0 changed  ", self.office.check("apply"), re.MULTILINE)
        return done


@pytest.fixture(scope="module")
def guarded(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The host with ufw; only ssh gets in."""
    started: list[LabHost] = []
    with network() as (name, prefix):

        def start(number: int, volume: str | None = None) -> LabHost:
            started.append(LabHost.start(network=name, ip=f"{prefix}.{number}", volume=volume))
            return started[-1]

        try:
            host, friend, stranger = start(11, seeded_volume(lab)), start(12), start(13)
            host.check(f"apt-get update -qq && apt-get install -qq -y --no-install-recommends ufw && {UFW}")
            office = Office(tmp_path_factory.mktemp("office"), environ={"IT_PASSWORD": PASSWORD})
            roles = ["docker", "ollama", "models", "open_webui"]
            address = {"address": f"{prefix}.11", "artifacts": str(lab.artifacts)}
            office.add(host, "chat01", ansible_become=True, provision_roles=roles, **address)
            # This machine is the first of the network: `verify` tries ports from here.
            visitors = [f"{prefix}.12", f"{prefix}.1"]
            office.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True, "listen": "lan"}
            office.variables["ollama"]["allow_networks"] = visitors
            office.variables["models"] = {"tiny": {"gguf": str(lab.artifacts / "tiny.gguf")}}
            admin = {"email": IT, "password": {"secret": "env:IT_PASSWORD"}}
            office.variables["open_webui"] = {
                "admin": admin,
                "network": "bridge",
                "port": WEB,
                "allow_networks": visitors,
            }
            yield Guarded(host, office, friend, stranger)
        finally:
            for one in started:
                one.remove()


def test_with_ufw_the_container_reaches_its_hosts_ollama_and_visitors_what_is_declared(guarded: Guarded) -> None:
    done = guarded.settle()
    assert "host-firewall:ollama" in done
    assert "host-firewall:open-webui" in done
    visitor = Visitor(f"http://{guarded.office.hosts['chat01']['address']}:{WEB}")
    assert visitor.say(visitor.sign_in(IT, PASSWORD)).strip()
    # A published port goes past ufw: who is not allowed is kept out of it by our own table.
    assert guarded.answers(OLLAMA) == guarded.answers(WEB) == (ANSWERED, DROPPED)
    prefix = guarded.office.hosts["chat01"]["address"].rpartition(".")[0]
    assert guarded.rules() == [
        "22/tcp ALLOW Anywhere",
        f"11434/tcp ALLOW {prefix}.1 # provision ollama",
        f"11434/tcp ALLOW {prefix}.12 # provision ollama",
        "11434/tcp on docker0 ALLOW Anywhere # provision open-webui",
        "22/tcp (v6) ALLOW Anywhere (v6)",
        "11434/tcp (v6) on docker0 ALLOW Anywhere (v6) # provision open-webui",
    ]
    assert guarded.unpassed() == {}


def test_a_rule_that_is_gone_is_seen_and_made_again_and_one_that_is_no_longer_declared_goes(guarded: Guarded) -> None:
    guarded.host.check("ufw --force delete allow in on docker0 to any port 11434 proto tcp")
    guarded.office.variables["ollama"]["allow_networks"].remove(guarded.friend.address)
    planned = guarded.office.check("plan")
    assert "ufw does not let in 11434 from docker0" in planned
    assert f"ufw lets in 11434 from {guarded.friend.address}, which is no longer declared" in planned
    guarded.settle()
    assert guarded.answers(OLLAMA) == (DROPPED, DROPPED)
    assert len(guarded.rules()) == 5


def test_with_firewalld_the_same(guarded: Guarded) -> None:
    host = guarded.host
    guarded.office.variables["ollama"]["allow_networks"].append(guarded.friend.address)
    host.check("ufw --force disable && apt-get install -qq -y --no-install-recommends firewalld")
    # Docker was there first, so it does not know firewalld: its bridge is in no zone of its own.
    assert host.check(ZONE).strip() == 's ""'
    done = guarded.settle()
    assert re.search(r"restart +docker-zone:docker", done), done
    assert re.search(r"update +host-firewall:ollama", done), done
    assert host.check(ZONE).strip() == 's "docker"'
    visitor = Visitor(f"http://{guarded.office.hosts['chat01']['address']}:{WEB}")
    assert visitor.say(visitor.sign_in(IT, PASSWORD)).strip()
    assert guarded.answers(OLLAMA) == (ANSWERED, DROPPED)
    assert guarded.answers(WEB) == (ANSWERED, DROPPED)
    assert guarded.unpassed() == {}


def test_a_reload_of_firewalld_loses_neither_docker_s_rules_nor_ours(guarded: Guarded) -> None:
    def docker_s() -> list[str]:
        return [line for line in guarded.host.check("iptables-save").splitlines() if line.startswith("-A DOCKER")]

    before = docker_s()
    guarded.host.check("firewall-cmd --reload")
    until(lambda: docker_s() == before, "Docker's rules after the reload")
    assert guarded.answers(OLLAMA) == guarded.answers(WEB) == (ANSWERED, DROPPED)
    assert "chat01: nothing to change" in guarded.office.check("plan")
