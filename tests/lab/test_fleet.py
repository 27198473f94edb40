"""Servers that use each other over a network: who reaches a model and who does not, and a backend that is down."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from tests.lab.cli import Office
from tests.lab.hosts import LabHost, owner
from tests.lab.machine import client
from tests.lab.prepare import Lab
from tests.lab.seeds import seeded_volume
from tests.lab.server import Server
from tests.lab.visitor import Visitor
from tests.lab.wait import until

IT, PASSWORD = "it@office.lan", "password-of-it"
ANSWERED, DROPPED = 0, 28
"""Exit statuses of curl: a dropped packet is no answer at all, where a refusal would be 7."""


@dataclass
class Fleet:
    """gpu01 has a model, chat01 has Open WebUI for it, gpu02 has no role yet; all in one network."""

    office: Office
    gpu01: LabHost
    gpu02: LabHost
    chat01: LabHost
    visitor: Visitor

    def model_from(self, host: LabHost, at: str = "") -> int:
        """How asking gpu01's Ollama from a host ends: curl's exit status."""
        url = f"http://{at or self.gpu01.address}:11434/api/version"
        return host.exec(f"curl -sSf --noproxy '*' --connect-timeout 2 --max-time 10 {url}").rc

    def changes(self) -> dict[str, list[str]]:
        """Host -> what a plan names."""
        planned = [event for event in self.office.events("plan") if event["event"] == "host-planned"]
        return {event["host"]: [change["resource"] for change in event["changes"]] for event in planned}


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A network of its own: its name, and the addresses of its hosts without the last number."""
    name = f"provision-lab-{random.randrange(16**8):08x}"
    while True:
        prefix = f"10.214.{random.randrange(256)}"
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=f"{prefix}.0/24")])
        try:
            made = client().networks.create(name, ipam=pool, labels=owner())
            break
        except APIError as error:
            if "overlaps" not in str(error):
                raise
    yield name, prefix
    made.remove()


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    started: list[LabHost] = []
    with network() as (name, prefix):
        try:
            yield _fleet(lab, Office(tmp_path_factory.mktemp("office")), name, prefix, started)
        finally:
            for host in started:
                host.remove()


def _fleet(lab: Lab, office: Office, network: str, prefix: str, started: list[LabHost]) -> Fleet:
    def start(name: str, number: int, **options: Any) -> LabHost:
        host = LabHost.start(network=network, ip=f"{prefix}.{number}", **options)
        started.append(host)
        office.add(host, name, ansible_become=True, address=f"{prefix}.{number}", artifacts=str(lab.artifacts))
        return host

    made = {name: start(name, number) for number, name in ((11, "gpu01"), (12, "gpu02"))}
    chat01 = start("chat01", 13, volume=seeded_volume(lab), ports={8080: 0})
    office.groups = {"inference": ["gpu01"], "web": ["chat01"]}
    office.environ["IT_PASSWORD"] = PASSWORD
    office.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True, "listen": "lan", "allow": ["web"]}
    office.variables["open_webui"] = {
        "admin": {"email": IT, "password": {"secret": "env:IT_PASSWORD"}},
        "backends": {"group": "inference"},
    }
    office.hosts["gpu01"] |= {"provision_roles": ["ollama", "models"], "models": {"tiny": gguf(lab)}}
    office.hosts["gpu02"] |= {"provision_roles": []}
    office.hosts["chat01"] |= {"provision_roles": ["docker", "open_webui"]}
    office.check("apply", timeout=900)
    return Fleet(office, **made, chat01=chat01, visitor=Visitor(f"http://127.0.0.1:{chat01.ports[8080]}"))


def gguf(lab: Lab) -> dict[str, str]:
    return {"gguf": str(lab.artifacts / "tiny.gguf")}


def test_a_model_answers_the_group_it_is_for_and_nobody_else(fleet: Fleet) -> None:
    assert fleet.model_from(fleet.chat01) == ANSWERED
    assert fleet.model_from(fleet.gpu01, "127.0.0.1") == ANSWERED
    assert fleet.model_from(fleet.gpu02) == DROPPED
    # Only the port is closed: the machine itself is there.
    fleet.gpu02.check(f"bash -c 'exec 3<>/dev/tcp/{fleet.gpu01.address}/22 && head -c 4 <&3' | grep SSH-")


def test_the_same_holds_from_the_first_moment_of_another_boot(fleet: Fleet) -> None:
    seen: list[int] = []
    over = threading.Event()

    def stranger() -> None:
        while not over.is_set():
            seen.append(fleet.model_from(fleet.gpu02, fleet.office.hosts["gpu01"]["address"]))

    thread = threading.Thread(target=stranger, daemon=True)
    thread.start()
    try:
        fleet.gpu01.reboot()
        until(lambda: fleet.model_from(fleet.chat01) == ANSWERED, "gpu01's Ollama answers chat01 again", 120)
        before = len(seen)
        until(lambda: len(seen) > before + 1, "another try of the stranger")
    finally:
        over.set()
        thread.join(30)
    assert ANSWERED not in seen
    assert seen[-1] == DROPPED
    assert fleet.model_from(fleet.gpu01, "127.0.0.1") == ANSWERED
    assert fleet.gpu01.check("systemctl is-active provision-firewall").strip() == "active"
    assert fleet.changes() == {"gpu01": [], "gpu02": [], "chat01": []}


def test_a_chat_is_answered_by_the_model_of_the_other_host(fleet: Fleet) -> None:
    assert Server(fleet.gpu01).loaded() == []
    assert fleet.visitor.say(fleet.visitor.sign_in(IT, PASSWORD)).strip()
    assert Server(fleet.gpu01).loaded() == ["tiny:latest"]


def test_verify_finds_everything_as_declared(fleet: Fleet) -> None:
    assert unpassed(fleet) == {}


def unpassed(fleet: Fleet) -> dict[tuple[str, str], tuple[str, str]]:
    """(host, check) -> status and message of all that did not pass."""
    checks = fleet.office.verdicts()
    assert {("gpu01", "reachable ports"), ("gpu02", "reachable ports"), ("chat01", "webui chat")} <= checks.keys()
    return {which: verdict for which, verdict in checks.items() if verdict[0] != "passed"}


def test_one_more_that_is_allowed_is_one_change_of_the_firewall(fleet: Fleet) -> None:
    fleet.office.hosts["gpu01"]["ollama"] = {"allow": ["web", "gpu02"]}
    assert fleet.changes() == {"gpu01": ["firewall:provision"], "gpu02": [], "chat01": []}
    assert fleet.model_from(fleet.gpu02) == DROPPED
    fleet.office.check("apply")
    assert fleet.model_from(fleet.gpu02) == ANSWERED
    assert unpassed(fleet) == {}


def test_a_backend_that_is_down_is_named_and_the_other_one_serves_on(fleet: Fleet) -> None:
    tiny = fleet.office.hosts["gpu01"]["models"]["tiny"]
    fleet.office.hosts["gpu02"] |= {"provision_roles": ["ollama", "models"], "models": {"other": tiny}}
    fleet.office.groups["inference"].append("gpu02")
    fleet.office.check("apply", "gpu02", timeout=600)
    fleet.gpu02.container.stop(timeout=2)
    fleet.office.check("apply", "gpu01")
    ended = fleet.office.run("apply", "chat01", timeout=600)
    assert ended.rc == 1
    url = f"http://{fleet.office.hosts['gpu02']['address']}:11434"
    told = f"chat01: open_webui_proof:open-webui: backend does not answer from inside the container: {url} (gpu02): "
    assert told in ended.out + ended.err
    user = fleet.visitor.add_user("user@office.lan", "password-of-a-user", fleet.visitor.sign_in(IT, PASSWORD))
    assert fleet.visitor.models(user) == ["tiny:latest"]
    assert fleet.visitor.say(user).strip()
    # Neither is it forgotten, nor is anything else left to do.
    assert f"{url} (gpu02) gave no model list yet" in fleet.office.check("plan", "chat01")
    assert fleet.changes()["chat01"] == ["open_webui_proof:open-webui"]


def test_once_it_is_back_the_next_run_converges_and_both_serve(fleet: Fleet) -> None:
    fleet.gpu02.container.start()
    fleet.gpu02.wait_for_ssh()
    until(lambda: fleet.model_from(fleet.gpu02, "127.0.0.1") == ANSWERED, "gpu02's Ollama", 60)
    fleet.office.check("apply")
    assert fleet.changes() == {"gpu01": [], "gpu02": [], "chat01": []}
    user = fleet.visitor.sign_in("user@office.lan", "password-of-a-user")
    assert fleet.visitor.models(user) == ["other:latest", "tiny:latest"]
    assert fleet.visitor.say(user, "other:latest").strip()
    assert Server(fleet.gpu02).loaded() == ["other:latest"]


def test_a_model_that_is_listed_but_does_not_answer_is_found_on_every_backend(fleet: Fleet) -> None:
    assert unpassed(fleet) == {}
    # The server goes on and lists its models; it cannot start the process that would answer.
    Server(fleet.gpu02).unload("other")
    fleet.gpu02.check("chmod -x /opt/ollama/0.9.3/bin/ollama")
    until(lambda: Server(fleet.gpu02).loaded() == [], "gpu02 has no model in memory")
    status, message = unpassed(fleet)["chat01", "webui chat"]
    assert status == "failed"
    assert f"other:latest through http://{fleet.office.hosts['gpu02']['address']}:11434: " in message
    assert "tiny:latest" not in message
