"""`provision verify` on a real server: green when it is as declared, and each check fails when it should."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab

SECRET = "correct-horse-battery"
DROP_IN = "/etc/systemd/system/ollama.service.d/50-provision.conf"
RESTART = "systemctl daemon-reload; systemctl restart ollama; sleep 1"
OWN_TESTS = """\
def test_ollama_runs_as_its_user(host, declared, facts):
    assert host.user("ollama").exists
    assert host.service("ollama").is_running
    assert any(resource.id == "service:ollama" for resource in declared.resources)
    assert facts.os.id == "debian"


def test_fleet_has_one_host(fleet):
    assert list(fleet.hosts) == ["gpu01"]
"""


@dataclass(frozen=True)
class Sabotage:
    """What is done to a host, the check that must fail, part of its message, and the checks that it blocks."""

    script: str
    check: str
    cause: str
    blocked: tuple[str, ...] = ()


GENERATIONS = ("generation tiny", "generation assistant")
SERVER = ("ollama version", "no cloud", "models", *GENERATIONS)

SABOTAGES = {
    "service stopped": Sabotage("systemctl stop ollama", "services", "ollama.service is inactive", SERVER),
    "not at boot": Sabotage("systemctl disable ollama", "services", "ollama.service is disabled at boot", SERVER),
    "drop-in changed without restart": Sabotage(
        f"echo 'Environment=OLLAMA_KEEP_ALIVE=1m' >>{DROP_IN}; systemctl daemon-reload",
        "services",
        "runs with another OLLAMA_KEEP_ALIVE than its unit says",
        SERVER,
    ),
    "older settings": Sabotage(
        f"sed -i 's/\\(PROVISION_SPEC=\\)[0-9a-f]*/\\1abc/' {DROP_IN}; {RESTART}",
        "services",
        "older settings than declared",
        SERVER,
    ),
    "managed file's mode": Sabotage(f"chmod 0666 {DROP_IN}", "files", f"{DROP_IN} has mode 0666, not 0644"),
    "second ollama": Sabotage("cp /bin/true /usr/bin/ollama", "one ollama", "2 in PATH: "),
    "another server": Sabotage(
        "ln -sfn /opt/other/bin/ollama /usr/local/bin/ollama; systemctl restart ollama; sleep 1",
        "ollama version",
        "0.9.4 answers on port 11434, 0.9.3 is declared",
        ("no cloud", "models", *GENERATIONS),
    ),
    "model deleted": Sabotage("ollama rm assistant", "models", "missing: assistant", GENERATIONS),
    "open to the network": Sabotage(
        f"sed -i 's/127.0.0.1:11434/0.0.0.0:11434/' {DROP_IN}; {RESTART}",
        "reachable ports",
        ":11434 answers, although ollama.listen is loopback",
    ),
    "cloud allowed": Sabotage(
        f"sed -i /OLLAMA_NO_CLOUD/d {DROP_IN}; {RESTART}", "no cloud", "without OLLAMA_NO_CLOUD=1"
    ),
    "package removed": Sabotage("dpkg --force-depends -r gpg >/dev/null", "packages", "not installed: gpg"),
    "secret readable": Sabotage("chmod 0644 /etc/office.key", "secrets", "/etc/office.key has mode 0644, not 0600"),
    "other parameters": Sabotage(
        "printf 'FROM tiny\\nPARAMETER num_ctx 1024\\n' >/tmp/M; ollama create assistant -f /tmp/M",
        "drift",
        "model:assistant:latest (parameters changed)",
    ),
}


@pytest.fixture(scope="module")
def office(host: LabHost, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    made = Office(tmp_path_factory.mktemp("office"), environ={"OFFICE_KEY": SECRET})
    made.add(host, "gpu01", provision_roles=["base", "ollama", "models", "files"], artifacts=str(lab.artifacts))
    made.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True}
    made.variables["files"] = {"files": {"/etc/office.key": {"secret": "env:OFFICE_KEY"}}}
    made.variables["models"] = {
        "tiny": {"gguf": str(lab.artifacts / "tiny.gguf")},
        "assistant": {"from": "tiny", "parameters": {"num_ctx": 512, "num_predict": 5}},
    }
    made.check("apply", timeout=600)
    other = next((lab.artifacts / "v0.9.4").glob("*.tgz"))
    host.put("/tmp/other.tgz", other)
    host.check("mkdir /opt/other && tar -xzf /tmp/other.tgz -C /opt/other && rm /tmp/other.tgz")
    yield made


def verified(office: Office, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit status, and check -> (status, message)."""
    ended = office.run("verify", "--json", *words)
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert found, ended.err
    return ended.rc, {one["check"]: (one["status"], one["message"]) for one in found}


def test_a_converged_host_passes_every_check(office: Office) -> None:
    rc, found = verified(office)
    assert {check: said for check, said in found.items() if said[0] != "passed"} == {}
    assert rc == 0
    assert set(found) == {"drift", "reachable ports", "packages", "files", "services", "secrets", "one ollama", *SERVER}


@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotage_is_caught_by_its_check_and_repaired_by_apply(office: Office, host: LabHost, name: str) -> None:
    sabotage = SABOTAGES[name]
    host.check(sabotage.script)
    rc, found = verified(office)
    assert rc == 1
    assert found[sabotage.check][0] == "failed", found
    assert sabotage.cause in found[sabotage.check][1]
    for check in sabotage.blocked:
        assert found[check] == ("blocked", f"blocked by {sabotage.check}")
    office.check("apply")
    rc, found = verified(office)
    assert rc == 0, found
