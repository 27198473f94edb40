"""Fixtures of tests on real hosts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.cache import LabError
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab, prepared


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
