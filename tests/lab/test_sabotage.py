"""Checks that can fail: converged hosts are broken in many ways, one at a time, and `verify` names what was done.

The named check fails with its cause, what depends on it is blocked, nothing else fails; `apply` repairs it.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from provision.resources.open_webui.inside.visit import DOMAIN
from provision.verify.checks import open_webui
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.sabotages import BACKEND, SABOTAGES, SECRET, Sabotage
from tests.lab.seeds import seeded_volume

MODELS = {"assistant": {"from": "tiny", "system": "You help.", "parameters": {"num_ctx": 512, "num_predict": 5}}}


@dataclass
class Converged:
    """A host that is as declared, and its inventory."""

    host: LabHost
    office: Office

    def verify(self) -> dict[str, tuple[str, str]]:
        """Check -> (status, message), without those that passed."""
        found = self.office.verdicts()
        return {check: verdict for (_, check), verdict in found.items() if verdict[0] != "passed"}


def office(lab: Lab, folder: pytest.TempPathFactory, host: LabHost, name: str, roles: list[str]) -> Office:
    """An inventory with one host that serves two models."""
    made = Office(folder.mktemp(name), environ={"OFFICE_KEY": SECRET})
    made.add(host, name, ansible_become=True, provision_roles=roles, artifacts=str(lab.artifacts))
    made.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True}
    made.variables["models"] = {"tiny": {"gguf": str(lab.artifacts / "tiny.gguf")}, **MODELS}
    return made


@pytest.fixture(scope="module")
def gpu01(host: LabHost, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Converged:
    """Ollama, two models, a secret file."""
    made = office(lab, tmp_path_factory, host, "gpu01", ["base", "ollama", "models", "files"])
    made.variables["files"] = {"files": {"/etc/office.key": {"secret": "env:OFFICE_KEY"}, "/etc/office.conf": "a\n"}}
    made.check("apply", timeout=600)
    other = next((lab.artifacts / "v0.9.4").glob("*.tgz"))
    host.put("/tmp/other.tgz", other)
    host.check("mkdir /opt/other && tar -xzf /tmp/other.tgz -C /opt/other && rm /tmp/other.tgz")
    return Converged(host, made)


@pytest.fixture(scope="module")
def chat01(hosts: Callable[..., LabHost], lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Converged:
    """Ollama, two models, Docker and Open WebUI, whose models are for a group; one backend has a name."""
    host = hosts(volume=seeded_volume(lab))
    host.check("echo 127.0.0.1 ollama.office.internal >>/etc/hosts")
    made = office(lab, tmp_path_factory, host, "chat01", ["docker", "ollama", "models", "open_webui"])
    made.variables["open_webui"] = {
        "admin": {"email": "it@office.lan", "password": {"secret": "env:OFFICE_KEY"}},
        "models_for": "staff",
        "backends": {"hosts": ["chat01"], "urls": [BACKEND]},
    }
    made.check("apply", timeout=900)
    return Converged(host, made)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: f"{one.host} {one.what}")
def test_sabotage_is_found_by_its_check_and_repaired(request: pytest.FixtureRequest, sabotage: Sabotage) -> None:
    broken: Converged = request.getfixturevalue(sabotage.host)
    broken.host.check(sabotage.script)
    found = broken.verify()
    assert found.get(sabotage.check, ("", ""))[0] == "failed", found
    assert sabotage.cause in found[sabotage.check][1]
    blocker = sabotage.blocker or sabotage.check
    blocked = {name: message for name, (status, message) in found.items() if status == "blocked"}
    assert blocked == dict.fromkeys(sabotage.blocked, f"blocked by {blocker}")
    assert {name for name, (status, _) in found.items() if status == "failed"} == {sabotage.check, *sabotage.also}
    if sabotage.repair:
        broken.host.check(sabotage.repair)
    else:
        broken.office.check("apply", timeout=600)
    assert broken.verify() == {}


def test_there_are_many_and_each_has_a_name() -> None:
    assert len({one.what for one in SABOTAGES}) == len(SABOTAGES) >= 25


def test_the_temporary_user_goes_and_so_does_one_that_a_killed_run_left(chat01: Converged) -> None:
    asked = {"url": "http://127.0.0.1:8080", "email": "it@office.lan", "secrets": "/run/provision"}
    left = {"name": "verify", "email": f"1700000000-ab@{DOMAIN}", "password": "Aa1-left-behind", "role": "user"}
    program = open_webui.program().partition("\n\nif __name__ ==")[0]
    program += f"\nquestion = {asked!r}\ncall(question, '/api/v1/auths/add', {left!r}, sign_in(question))\n"
    chat01.host.check(f"docker exec open-webui python3 -c {shlex.quote(program)}")
    assert users(chat01) == ["it@office.lan", left["email"]]
    assert chat01.verify() == {}
    assert users(chat01) == ["it@office.lan"]


def users(chat01: Converged) -> list[str]:
    """Addresses of all accounts."""
    query = "import sqlite3; d = sqlite3.connect('/app/backend/data/webui.db');"
    query += " print(*(row[0] for row in d.execute('select email from \"user\" order by created_at')))"
    return chat01.host.check(f"docker exec open-webui python3 -c {shlex.quote(query)}").split()
