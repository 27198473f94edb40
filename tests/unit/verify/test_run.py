"""The ports of a fleet whose hosts this machine may not reach."""

from typing import Any, cast

import pytest

from provision.engine.plan import Declared
from provision.verify import run
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
