"""Sessions in a sandbox: the real protocol, in dash, bash and busybox."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.host.connect import RootSession
from tests.unit.host.sandbox import SHELLS, Sandbox


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits than for people."""
    monkeypatch.setattr("provision.host.lock._WAIT", 0.3)
    monkeypatch.setattr("provision.host.jobs._PAUSES", (0.2,))
    monkeypatch.setattr("provision.host.shell._GRACE", 1.0)


@pytest.fixture(params=SHELLS)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """A sandbox with each of the shells."""
    return Sandbox(tmp_path, request.param)


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[RootSession]:
    """A session in it."""
    session = sandbox.session()
    yield session
    session.close()
