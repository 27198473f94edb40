"""Two servers that need each other, as an office has them: one serves models, one Open WebUI. Peers have no address."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.lab.cli import Office
from tests.lab.counted import Cost, counted
from tests.lab.hosts import LabHost
from tests.lab.mirror import mirror
from tests.lab.prepare import Lab
from tests.lab.seeds import seeded_volume

PASSWORD = "correct-horse-battery"
NO_PROXY = ["office.lan", "mirror.office.invalid", "10.9.0.0/16"]


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
    office.add(gpu01, "gpu01", provision_roles=["base", "ollama", "models"])
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


def process(host: LabHost, unit: str) -> str:
    """The environment of a unit's process."""
    return host.check(f"tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value {unit})/environ")


def starts(host: LabHost, unit: str) -> int:
    """How often a unit was started since the host is there."""
    return int(host.check(f"journalctl -q -u {unit} -o cat | grep -c '^Started {unit}.service'"))


def test_apt_docker_and_ollama_use_the_proxy_whose_password_only_root_can_read(pair: Pair) -> None:
    units = ((pair.gpu01, "ollama"), (pair.chat01, "docker"))
    with mirror() as proxy:
        pair.office.environ["PROXY_URL"] = proxy.url.replace("://", "://it:first-secret@")
        pair.office.variables["base"] = {"proxy": {"http": {"secret": "env:PROXY_URL"}, "no_proxy": NO_PROXY}}
        told = pair.office.check("plan", "--diff", "-v") + pair.office.check("apply", "-v")
        pair.chat01.exec(
            'for name in packages mirror; do echo "deb http://$name.office.invalid/ ./"; done >/tmp/x.list; '
            "apt-get -o Dir::Etc::sourcelist=/tmp/x.list -o Dir::Etc::sourceparts=- update"
        )
        assert "http://packages.office.invalid/./InRelease" in proxy.asked
        assert not [url for url in proxy.asked if url.startswith("http://mirror.office.invalid/")]
    for host, unit in units:
        assert f"HTTPS_PROXY={pair.office.environ['PROXY_URL']}\n" in process(host, unit)
        assert f"NO_PROXY=localhost,127.0.0.1,::1,{','.join(NO_PROXY)}\n" in process(host, unit)
        found = host.check(
            "grep -rlI first-secret /etc /run /var/lib/provision /var/log /usr/local | xargs stat -c '%a %n'"
        )
        assert sorted(found.splitlines()) == [
            "600 /etc/apt/apt.conf.d/95provision-proxy",
            "600 /etc/provision/proxy.env",
        ]
    assert re.search(r"^chat01 +0 changed", pair.office.check("apply"), re.MULTILINE)

    before = {unit: starts(host, unit) for host, unit in units}
    pair.office.environ["PROXY_URL"] = pair.office.environ["PROXY_URL"].replace("first", "other")
    planned = pair.office.check("plan", "--diff")
    assert re.findall(r"restart +service:(\w+)  file:/etc/provision/proxy.env changes", planned) == ["ollama", "docker"]
    told += planned + pair.office.check("apply") + pair.office.logs()
    assert {unit: starts(host, unit) - before[unit] for host, unit in units} == {"ollama": 1, "docker": 1}
    assert all("it:other-secret@" in process(host, unit) for host, unit in units)
    assert not re.search("first-secret|other-secret", told)

    del pair.office.variables["base"]
    pair.office.check("apply")
    assert not any("_PROXY" in process(host, unit) for host, unit in units)


def test_what_systemctl_edit_wrote_does_not_beat_what_is_declared(pair: Pair) -> None:
    host, office = pair.gpu01, pair.office
    folder = "/etc/systemd/system/ollama.service.d"
    host.put(f"{folder}/override.conf", b"[Service]\nEnvironment=OLLAMA_NO_CLOUD=0 OLLAMA_ORIGINS=http://x\n")
    host.check("systemctl daemon-reload; systemctl restart ollama")
    environment = process(host, "ollama").splitlines()
    assert {"OLLAMA_NO_CLOUD=1", "OLLAMA_ORIGINS=http://x"} <= set(environment)
    assert re.search(r"^gpu01 +0 changed", office.check("apply", "gpu01"), re.MULTILINE)
    host.check(f"rm {folder}/override.conf; systemctl daemon-reload; systemctl restart ollama")
