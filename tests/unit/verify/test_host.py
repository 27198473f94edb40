"""What is asked of one host, and what becomes of an answer that is not whole."""

from collections.abc import Callable

import pytest

from provision.engine.plan import Declared
from provision.errors import HostError
from provision.host.session import Answer
from provision.resources.package import Package
from provision.verify.checks.system import Packages
from provision.verify.host import LISTENING, ask_first


class Session:
    """Answers with what `change` makes of the script's own frame around nothing."""

    name = "web01"

    def __init__(self, change: Callable[[int], int]) -> None:
        self.change = change

    def run(self, script: str, **_: object) -> Answer:
        nonce = script.partition("printf '%s%s\\n' ")[2].split()[0]
        count = self.change(int(script.partition('while [ "$n" -lt ')[2].split()[0]))
        text = f"{nonce}{' 0' * count}\n" + "".join(f"0 {n}.o\n0 {n}.e\n" for n in range(count)) + f"0 total\n{nonce}\n"
        return Answer(0, text.encode(), b"killed\n")


CHECKS = (Packages(("curl",)),)
DECLARED = Declared("web01", (("base", Package(("curl",))),))


def test_probes_checks_and_listeners_are_asked_at_once() -> None:
    found = ask_first(Session(lambda count: count), DECLARED, CHECKS)  # type: ignore[arg-type]
    assert list(found) == ["provision state", "package:curl", "packages", LISTENING]


def test_an_answer_that_lacks_one_is_no_answer() -> None:
    session = Session(lambda count: count - 1)
    with pytest.raises(HostError, match=rf"the checks gave no answer \(it stops before {LISTENING}\): killed"):
        ask_first(session, DECLARED, CHECKS)  # type: ignore[arg-type]
