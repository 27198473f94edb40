"""Fixtures of tests on real hosts, and their time."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab import budget
from tests.lab.cache import LabError
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab, prepared
from tests.lab.twins import THREE, Fleet, fleet_of


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The prepared lab."""
    try:
        return prepared()
    except LabError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[LabHost]:
    """A fresh Debian 13 host for this module."""
    started = LabHost.start()
    yield started
    started.remove()


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Callable[..., LabHost]]:
    """Starts hosts, with the arguments of `LabHost.start`; they are removed after the module."""
    started: list[LabHost] = []

    def start(**options: Any) -> LabHost:
        started.append(LabHost.start(**options))
        return started[-1]

    yield start
    for one in started:
        one.remove()


@pytest.fixture
def fleet(lab: Lab, tmp_path: Path) -> Iterator[Fleet]:
    """An inventory of three hosts, for twins of them."""
    with fleet_of(THREE, tmp_path) as made:
        yield made


_taken: Counter[str] = Counter()
"""Module -> seconds. The reports of other processes come here too."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Sum up."""
    _taken[budget.module_of(report.nodeid)] += report.duration  # type: ignore[assignment]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    if not _taken:
        return
    terminalreporter.section("seconds of each module, and its budget")
    for line in budget.table(_taken):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A strict run fails when a module is over."""
    if os.environ.get("PROVISION_LAB_STRICT") == "1" and budget.over(_taken) and not exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Fixtures are given up when they hang."""
    with _no_longer(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """So is the test."""
    with _no_longer(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """And the end of fixtures."""
    with _no_longer(item):
        return (yield)


@contextmanager
def _no_longer(item: pytest.Item) -> Iterator[None]:
    """A signal ends what hangs, whatever it waits for: a process, a socket, a thread."""

    def ended(_number: int, _frame: object) -> None:
        pytest.fail(f"{item.nodeid} took more than {budget.TEST} s")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(budget.TEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
