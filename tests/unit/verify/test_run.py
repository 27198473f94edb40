"""The ports of a fleet whose hosts this machine may not reach; secrets in our own logs."""

from pathlib import Path
from typing import Any, cast

import pytest

from provision.engine.plan import Declared
from provision.inventory import load
from provision.roles import RoleSchemas
from provision.verify import run
from provision.verify.check import Verdict
from provision.verify.checks import reach
from provision.verify.checks.reach import Doors, Knock
from provision.verify.host import Verified
from provision.view import OpenPort


@pytest.mark.parametrize("from_here", [True, False])
def test_this_machine_tries_ports_only_where_it_can(monkeypatch: pytest.MonkeyPatch, from_here: bool) -> None:
    asked: list[str] = []

    def knock(address: str, ports: Any) -> list[Knock]:
        asked.append(address)
        return [Knock("this machine", "192.0.2.1", port, False) for port in ports]

    monkeypatch.setattr(reach, "knock", knock)
    doors = Doors("192.0.2.7", (OpenPort(8080, None, "it is for all"),), (), frozenset({8080}))
    host = Verified(cast(Any, None), cast(Any, None), Declared("chat", ()), (), doors)
    (found,) = run._ports({"chat": host}, 1, None, (), from_here).values()
    assert (asked, found.verdict.status) == ((["192.0.2.7"], "failed") if from_here else ([], "skipped"))


def test_a_secret_in_our_own_log_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "inventory.yml"
    proxy = "{http: {secret: env:PROXY}, https: {secret: env:X}}"
    path.write_text(f"all: {{hosts: {{web: {{provision_roles: [base], base: {{proxy: {proxy}}}}}}}}}\n")
    monkeypatch.setenv("PROXY", "http://anna:correct-horse@proxy:3128")
    monkeypatch.setenv("X", "short")
    fleet = load(path, RoleSchemas(path))
    folder = tmp_path / "provision" / "log"
    folder.mkdir(parents=True)
    (folder / "20260101-apply-1.jsonl").write_text('{"proxy": "***", "other": "short"}\n')
    assert run.leaks(fleet.hosts.values()).verdict == Verdict("passed", "1 files")
    (folder / "20260102-plan-2.jsonl").write_text('{"proxy": "http://anna:correct-horse@proxy:3128"}\n')
    found = run.leaks(fleet.hosts.values()).verdict
    assert (found.status, found.message) == ("failed", f"a secret stands in 20260102-plan-2.jsonl below {folder}")
