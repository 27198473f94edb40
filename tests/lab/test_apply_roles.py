"""The roles together, from an inventory to a server that answers; on each system that is supported in the lab."""

import json
import re
from collections.abc import Callable

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.server import Server


@pytest.mark.parametrize(("suite", "variant"), [("debian-13", "bare"), ("debian-12", "plain")])
def test_docker_and_ollama_with_a_derived_model(
    hosts: Callable[..., LabHost], lab: Lab, tmp_path_factory: pytest.TempPathFactory, suite: str, variant: str
) -> None:
    host = hosts(suite=suite, variant=variant)
    office = Office(tmp_path_factory.mktemp("office"))
    office.add(host, "gpu01", provision_roles=["base", "docker", "ollama", "models"], artifacts=str(lab.artifacts))
    office.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True}
    office.variables["models"] = {
        "tiny": {"gguf": str(lab.artifacts / "tiny.gguf")},
        "assistant": {"from": "tiny", "system": "You are short.", "parameters": {"num_ctx": 512, "num_predict": 5}},
    }
    planned = office.run("plan", "--exit-code")
    assert planned.rc == 2
    assert re.search(r"gpu01: \d+ changes, \d+ unchanged, 4\d\.\d MB to download", planned.out)

    applied = office.check("apply", timeout=600)
    assert re.search(r"^gpu01  \d+ changed  \d+ unchanged  ", applied, re.MULTILINE)
    assert re.search(r"^gpu01  0 changed  ", office.check("apply"), re.MULTILINE)

    assert host.check("docker version --format '{{.Server.Version}}'").strip()
    assert json.loads(host.check("cat /etc/docker/daemon.json"))["live-restore"] is True
    answer = Server(host).generate("assistant")
    assert answer["done"] is True
    assert answer["response"]

    host.reboot()
    assert re.search(r"^gpu01  0 changed  ", settled(office), re.MULTILINE)
    host.check("systemctl stop ollama; rm -rf /opt/ollama/0.9.3/lib; rm /etc/docker/daemon.json")
    text = office.check("plan")
    assert "start" in text
    assert "service:ollama" in text
    assert "create  docker-config:daemon.json" in text.replace("create   ", "create  ")


def settled(office: Office) -> str:
    """An apply after a reboot: services may still be starting, which it waits for."""
    office.check("apply")
    return office.check("apply")
