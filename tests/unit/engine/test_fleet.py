import os
import signal
import threading
from pathlib import Path

import pytest

from provision.engine.fleet import Failures, Interrupt, Outcome, each, exit_code, finished
from provision.errors import HostError, InputError, Interrupted, ProvisionError, Unreachable
from provision.inventory import load
from provision.inventory.fleet import Host


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[Host, ...]:
    (tmp_path / "inventory.yml").write_text("all:\n  hosts: {'h[1:6]': {}}\n")
    return load(tmp_path / "inventory.yml", {}).match("all")


def test_every_host_has_one_outcome_and_errors_stop_no_other(hosts: tuple[Host, ...]) -> None:
    def work(host: Host) -> str:
        if host.name in ("h2", "h5"):
            raise HostError(host.name, "no")
        return host.name.upper()

    found = {outcome.host: outcome for outcome in each(hosts, work, forks=3)}
    assert {name: outcome.value for name, outcome in found.items() if outcome.value} == {
        name: name.upper() for name in ("h1", "h3", "h4", "h6")
    }
    assert {name for name, outcome in found.items() if outcome.error} == {"h2", "h5"}


def test_no_more_than_forks_at_once(hosts: tuple[Host, ...]) -> None:
    running: set[str] = set()
    most = 0
    gate = threading.Barrier(2, timeout=10)
    lock = threading.Lock()

    def work(host: Host) -> None:
        nonlocal most
        with lock:
            running.add(host.name)
            most = max(most, len(running))
        gate.wait()
        with lock:
            running.discard(host.name)

    assert len(list(each(hosts, work, forks=2))) == 6
    assert most == 2


def test_a_bug_is_not_swallowed(hosts: tuple[Host, ...]) -> None:
    def work(host: Host) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(each(hosts, work))


def test_after_enough_failures_no_host_is_begun(hosts: tuple[Host, ...]) -> None:
    failures = Failures(2)
    begun = []

    def work(host: Host) -> None:
        begun.append(host.name)
        raise HostError(host.name, "no")

    outcomes = []
    for outcome in each(hosts, work, forks=1, go_on=failures.go_on):
        failures.count += outcome.error is not None
        outcomes.append(outcome)
    assert begun == ["h1", "h2"]
    assert [outcome.begun for outcome in outcomes] == [True, True, False, False, False, False]
    assert [finished(outcome, 0, 0).status for outcome in outcomes[1:3]] == ["failed", "skipped"]


def test_after_giving_up_no_host_is_begun() -> None:
    failures = Failures(None)
    failures.count = 1
    assert failures.go_on()
    failures.give_up()
    assert not failures.go_on()


def test_ctrl_c_once_lets_what_runs_end_and_begins_nothing_new(hosts: tuple[Host, ...]) -> None:
    said: list[str] = []
    interrupt = Interrupt(lambda: said.append("first"), lambda: said.append("second"))
    begun = []

    def work(host: Host) -> str:
        begun.append(host.name)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.stop.wait(10)
        return host.name

    with interrupt.installed():
        outcomes = list(each(hosts, work, forks=1, interrupt=interrupt))
    assert begun == ["h1"]
    assert [outcome.value for outcome in outcomes] == ["h1", *[None] * 5]
    assert said == ["first"]
    assert exit_code(outcomes, interrupted=bool(interrupt.presses)) == 130


def test_ctrl_c_twice_ends_the_connections(hosts: tuple[Host, ...]) -> None:
    cut = threading.Event()
    interrupt = Interrupt(lambda: os.kill(os.getpid(), signal.SIGINT), cut.set)

    def work(host: Host) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert cut.wait(10)
        raise HostError(host.name, "the session is closed")

    with interrupt.installed():
        outcomes = list(each(hosts[:1], work, interrupt=interrupt))
    assert str(outcomes[0].error) == "h1: the session is closed"


def test_after_ctrl_c_twice_nobody_waits_for_a_host_that_is_still_being_connected_to(hosts: tuple[Host, ...]) -> None:
    never = threading.Event()
    interrupt = Interrupt(lambda: os.kill(os.getpid(), signal.SIGINT), lambda: None)

    def work(host: Host) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert never.wait(20)

    with interrupt.installed():
        outcomes = list(each(hosts, work, forks=1, interrupt=interrupt))
    assert [finished(outcome, 0, 0).status for outcome in outcomes] == ["interrupted", *["skipped"] * 5]
    assert exit_code(outcomes) == 130


def test_the_old_signal_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(lambda: None, lambda: None).installed():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


OK: Outcome[int] = Outcome("a", value=1)
NOT_BEGUN: Outcome[int] = Outcome("a")


def wrong(error: ProvisionError) -> Outcome[int]:
    return Outcome("a", error=error)


@pytest.mark.parametrize(
    ("outcomes", "interrupted", "pending", "wanted"),
    [
        ([OK], False, False, 0),
        ([OK], False, True, 2),
        ([OK, wrong(Unreachable("a", "x"))], False, True, 4),
        ([wrong(HostError("a", "x")), wrong(Unreachable("a", "x"))], False, True, 1),
        ([wrong(InputError("x")), wrong(HostError("a", "x")), wrong(Unreachable("a", "x"))], False, True, 3),
        ([wrong(InputError("x")), wrong(Interrupted("x"))], False, True, 130),
        ([OK, wrong(InputError("x"))], True, True, 130),
        ([OK, NOT_BEGUN], False, True, 1),
        ([], False, False, 0),
    ],
)
def test_exit_codes_and_their_precedence(
    outcomes: list[Outcome[int]], interrupted: bool, pending: bool, wanted: int
) -> None:
    assert exit_code(outcomes, interrupted, pending) == wanted


@pytest.mark.parametrize(
    ("outcome", "changed", "status"),
    [
        (OK, 0, "ok"),
        (OK, 2, "changed"),
        (wrong(HostError("a", "x")), 2, "failed"),
        (wrong(Unreachable("a", "x")), 0, "unreachable"),
        (wrong(Interrupted("x")), 1, "interrupted"),
        (NOT_BEGUN, 0, "skipped"),
    ],
)
def test_the_status_of_a_host(outcome: Outcome[int], changed: int, status: str) -> None:
    event = finished(outcome, changed, 3)
    assert (event.status, event.changed, event.unchanged) == (status, changed, 3)


def test_while_an_interrupt_is_lifted_ctrl_c_goes_where_it_went_before() -> None:
    with Interrupt(lambda: None, lambda: None).installed() as interrupt:
        with pytest.raises(KeyboardInterrupt), interrupt.lifted():
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.presses == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.presses == 1
