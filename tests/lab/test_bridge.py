"""Open WebUI with a network of its own, and the Ollama of the same host behind a firewall that forgets containers."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.seeds import seeded_volume
from tests.lab.visitor import Visitor

IT, PASSWORD = "it@office.lan", "password-of-it"
URL = "http://host.docker.internal:11434"
# What ufw's `default deny` does to packets of containers: they pass INPUT, unlike those to published ports.
FORGETFUL = (
    "nft 'table inet office { chain input { type filter hook input priority 0; policy accept;"
    ' iifname "docker0" tcp dport 11434 drop; }; }\''
)


@dataclass
class Bridged:
    """A host with Ollama for its own containers, as somebody of its network sees it."""

    host: LabHost
    office: Office

    @property
    def visitor(self) -> Visitor:
        return Visitor(f"http://{self.host.address}:8080")

    def unpassed(self) -> dict[str, str]:
        """Check -> message of all that did not pass."""
        found = self.office.verdicts()
        assert {("chat01", "webui chat"), ("chat01", "reachable ports")} <= found.keys()
        return {check: message for (_, check), (status, message) in found.items() if status != "passed"}


@pytest.fixture(scope="module")
def bridged(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    """The host without Open WebUI yet."""
    host = LabHost.start(volume=seeded_volume(lab))
    try:
        office = Office(tmp_path_factory.mktemp("office"), environ={"IT_PASSWORD": PASSWORD})
        roles = ["docker", "ollama", "models", "open_webui"]
        address = {"address": host.address, "artifacts": str(lab.artifacts)}
        office.add(host, "chat01", ansible_become=True, provision_roles=roles, **address)
        office.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True, "listen": "lan"}
        office.variables["models"] = {"tiny": {"gguf": str(lab.artifacts / "tiny.gguf")}}
        admin = {"email": IT, "password": {"secret": "env:IT_PASSWORD"}}
        office.variables["open_webui"] = {"admin": admin, "network": "bridge"}
        office.check("apply", "--roles", "docker,ollama,models", timeout=600)
        yield Bridged(host, office)
    finally:
        host.remove()


def test_a_firewall_in_the_way_is_told_with_the_way_out_and_no_stranger_gets_in(bridged: Bridged) -> None:
    bridged.host.check(FORGETFUL)
    seen: list[tuple[str, int]] = []
    over = threading.Event()

    def stranger() -> None:
        body = {"name": "x", "email": "stranger@evil.example", "password": "stranger-password"}
        while not over.wait(0.1):
            status, shown = bridged.visitor.call("/api/config")
            seen.append(("onboarding" if status == 200 and shown.get("onboarding") else "config", status))
            seen.append(("signup", bridged.visitor.call("/api/v1/auths/signup", body)[0]))

    thread = threading.Thread(target=stranger, daemon=True)
    thread.start()
    try:
        ended = bridged.office.run("apply", timeout=600)
    finally:
        over.set()
        thread.join(30)
    # Docker publishes the port before the server listens: it was seen closed, then open, never without its admin.
    assert seen.count(("config", 0)) and seen.count(("config", 200))
    assert seen.count(("signup", 403))
    assert {status for what, status in seen if what == "signup"} == {0, 403}
    assert "onboarding" not in {what for what, _ in seen}

    assert ended.rc == 1
    (line,) = [line for line in (ended.out + ended.err).splitlines() if "open_webui_proof" in line and "answer" in line]
    assert f"backend does not answer from inside the container: {URL} (chat01): timed out; " in line
    assert "ufw allow in on docker0 to any port 11434 proto tcp" in line


def test_without_it_the_container_reaches_the_hosts_own_ollama_and_others_do_not(bridged: Bridged) -> None:
    bridged.host.check("nft delete table inet office")
    assert f"{URL} (chat01) gave no model list yet" in bridged.office.check("plan")
    bridged.office.check("apply")
    assert "0 changed" in bridged.office.check("apply")
    assert bridged.visitor.say(bridged.visitor.sign_in(IT, PASSWORD)).strip()
    # Ports are tried from this machine, which is in no `allow`.
    assert bridged.unpassed() == {}


def test_a_port_published_on_loopback_is_for_the_host_alone(bridged: Bridged) -> None:
    bridged.office.variables["open_webui"]["listen"] = "127.0.0.1"
    bridged.office.check("apply", timeout=600)
    assert json.loads(bridged.host.check("curl -sS http://127.0.0.1:8080/ready")) == {"status": True}
    assert bridged.visitor.call("/ready")[0] == 0
    assert bridged.unpassed() == {}
