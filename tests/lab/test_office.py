"""Two servers that need each other, as an office has them: one serves models, one Open WebUI. Peers have no address."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.lab.cli import Office
from tests.lab.counted import Cost, counted
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.seeds import seeded_volume

PASSWORD = "correct-horse-battery"


@dataclass(frozen=True)
class Pair:
    """Both hosts as declared, and their inventory."""

    gpu01: LabHost
    chat01: LabHost
    office: Office


@pytest.fixture(scope="module")
def pair(hosts: Callable[..., LabHost], lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    gpu01, chat01 = hosts(), hosts(volume=seeded_volume(lab))
    office = Office(tmp_path_factory.mktemp("office"), environ={"IT_PASSWORD": PASSWORD})
    office.variables |= {
        "artifacts": str(lab.artifacts),
        "ollama": {"version": "0.9.3", "allow_vulnerable": True, "listen": "lan", "allow": ["web"]},
        "models": {
            "tiny": {"gguf": str(lab.artifacts / "tiny.gguf")},
            "assistant": {"from": "tiny", "parameters": {"num_ctx": 512, "num_predict": 5}},
        },
        "open_webui": {
            "backends": {"group": "inference"},
            "admin": {"email": "it@office.lan", "password": {"secret": "env:IT_PASSWORD"}},
        },
    }
    office.add(gpu01, "gpu01", provision_roles=["base", "docker", "ollama", "models"])
    office.add(chat01, "chat01", provision_roles=["base", "docker", "open_webui"])
    office.groups = {"inference": ["gpu01"], "web": ["chat01"]}
    office.check("apply", timeout=900)
    return Pair(gpu01, chat01, office)


def test_a_run_that_changes_nothing_costs_each_host_one_connection_one_channel_and_two_requests(pair: Pair) -> None:
    with counted(pair.gpu01, pair.chat01) as costs:
        applied = pair.office.check("apply")
    assert re.findall(r"^(\w+) +0 changed  \d+ unchanged", applied, re.MULTILINE) == ["gpu01", "chat01"]
    once = Cost(connections=1, channels=1, commands=1, requests=2)
    assert costs == {pair.gpu01.name: once, pair.chat01.name: once}
