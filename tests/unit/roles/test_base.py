"""What the role base declares: who keeps the clock, where the proxy and its password stand."""

from dataclasses import replace
from typing import Any

import pytest

from provision.facts.model import Identity
from provision.resources.base import Resource
from provision.resources.file import File
from provision.resources.package import Package
from provision.resources.service import Service
from provision.roles import load_role
from provision.templates import builtin
from provision.view import HostView
from tests.unit.samples import SERVER

ROLE: Any = load_role("base")


def declare(identity: Identity = SERVER, **settings: Any) -> list[Resource]:
    """What is declared with these settings."""
    view = HostView("gpu", identity, ("base",), {}, {}, builtin().render, lambda name: None, lambda name: (), None)
    return list(ROLE.declare(view, ROLE.Settings.model_validate(settings)))


@pytest.mark.parametrize("marks", [frozenset(), frozenset({"container"})])
@pytest.mark.parametrize(
    ("daemon", "unit", "installed"), [("", "systemd-timesyncd", True), ("chrony", "chrony", False)]
)
def test_a_time_daemon_that_is_there_is_kept(daemon: str, unit: str, installed: bool, marks: frozenset[str]) -> None:
    resources = declare(replace(SERVER, time_daemon=daemon, marks=marks))
    (packages,) = (one.names for one in resources if isinstance(one, Package))
    assert ("systemd-timesyncd" in packages) == installed
    (service,) = (one for one in resources if isinstance(one, Service))
    assert (service.name, service.enabled, service.running) == (unit, True, None if marks else True)


def test_without_time_nothing_is_said_about_the_clock() -> None:
    resources = declare(time=False)
    assert "timesyncd" not in repr(resources)
    assert not [one for one in resources if isinstance(one, Service)]


def test_apt_reaches_directly_what_it_can_be_told_to() -> None:
    names = [
        "mirror.office.lan",
        "10.9.8.7",
        ".office.lan",
        "*.office.lan",
        "10.0.0.0/8",
        "fd00::1",
        "[fd00::1]",
        "a:80",
        'a"b',
    ]
    proxy = {"http": "http://proxy.office.lan:3128", "no_proxy": names}
    (file,) = (one for one in declare(proxy=proxy) if isinstance(one, File) and one.path == ROLE.APT_PROXY)
    told = [line for line in str(file.content).splitlines() if "DIRECT" in line]
    assert told == [
        f'Acquire::{scheme}::Proxy::{name} "DIRECT";'
        for scheme in ("http", "https")
        for name in ("localhost", "127.0.0.1", "mirror.office.lan", "10.9.8.7")
    ]
