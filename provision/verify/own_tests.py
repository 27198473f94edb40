"""The fleet's own tests, `tests/test_*.py` beside the inventory: run by pytest in this process, on our sessions.

testinfra is not maintained any more, so that the seam is thin: one class whose `run` is the session's.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provision.errors import HostError, InputError
from provision.facts.model import Identity
from provision.inventory.fleet import Fleet
from provision.values import printable
from provision.verify.check import Result, Status, Verdict
from provision.verify.host import Verified

if TYPE_CHECKING:
    from testinfra.host import Host

FLEET = "fleet"
"""In place of a host: tests that use none."""
_PLUGIN_OF_TESTINFRA = "pytest11.testinfra"


def find_tests(fleet: Fleet) -> list[Path]:
    """`tests/test_*.py` beside the inventory, or beside the directory that it lies in."""
    folders = dict.fromkeys((fleet.base, fleet.base.parent if fleet.base.name == "inventory" else fleet.base))
    return [file for folder in folders for file in sorted((folder / "tests").glob("test_*.py"))]


def testinfra_host(verified: Verified) -> "Host":
    """The `Host` of testinfra on the session of `verified`: sudo, bastions and passwords are the session's."""
    from testinfra.backend.base import BaseBackend, CommandResult
    from testinfra.host import Host

    backend = BaseBackend(verified.session.name)

    def run(command: str, *args: str, **_: object) -> CommandResult:
        text = backend.get_command(command, *args)
        answer = verified.session.run(text)
        return backend.result(answer.rc, text.encode(), answer.out, answer.err)

    backend.NAME = "provision"
    backend.run = run
    host = Host(backend)
    backend.set_host(host)
    return host


@dataclass
class Plugin:
    """Gives tests `host`, `declared`, `facts` and `fleet`, and keeps what came of them."""

    fleet_read: Fleet
    verified: Mapping[str, Verified]

    def __post_init__(self) -> None:
        self.results: list[Result] = []
        self._hosts: dict[str, Host] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Tests that use a host run once for each."""
        if {"host", "declared", "facts"} & set(metafunc.fixturenames):
            metafunc.parametrize("_provision_host", list(self.verified), indirect=True, scope="session")

    @pytest.fixture(scope="session")
    def _provision_host(self, request: pytest.FixtureRequest) -> Verified:
        return self.verified[request.param]

    @pytest.fixture(scope="session")
    def host(self, _provision_host: Verified) -> "Host":
        """The host, as testinfra sees it."""
        name = _provision_host.declared.host
        if name not in self._hosts:
            self._hosts[name] = testinfra_host(_provision_host)
        return self._hosts[name]

    @pytest.fixture(scope="session")
    def declared(self, _provision_host: Verified) -> Any:
        """Its resources, `(role, resource)` as `declared.entries`."""
        return _provision_host.declared

    @pytest.fixture(scope="session")
    def facts(self, _provision_host: Verified) -> Identity:
        """What it is."""
        return _provision_host.identity

    @pytest.fixture(scope="session")
    def fleet(self) -> Fleet:
        """The inventory."""
        return self.fleet_read

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Keep each test's verdict: of its body, or of a fixture that failed."""
        report: pytest.TestReport = yield
        if report.when == "call" or report.outcome != "passed":
            self.results.append(self._result(item, report, call))
        return report

    def _result(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Result:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        host = parameters.get("_provision_host", FLEET)
        name = f"{item.path.name}::{item.name}".replace(f"[{host}]", "").replace(f"[{host}-", "[")
        status: Status = "failed" if report.failed else "skipped" if report.skipped else "passed"
        error = call.excinfo
        text = error.exconly(tryshort=True) if error is not None else ""
        return Result(host, name, Verdict(status, printable(text, 1000)), report.duration)


def run_tests(fleet: Fleet, verified: Mapping[str, Verified], arguments: Sequence[str]) -> tuple[list[Result], str]:
    """Run them; gives what came of them, and what pytest printed.

    Args:
        fleet: the inventory.
        verified: hosts that were reached.
        arguments: for pytest.

    Raises:
        InputError: pytest found no way to run them: a file cannot be read, an argument is wrong.
    """
    files = find_tests(fleet)
    if not files:
        if arguments:
            raise InputError(
                f"there are no tests for the arguments {' '.join(arguments)}: {fleet.base}/tests/test_*.py"
            )
        return [], ""
    plugin = Plugin(fleet, verified)
    words = ["-p", f"no:{_PLUGIN_OF_TESTINFRA}", "-p", "no:cacheprovider", "--import-mode=importlib"]
    words += [f"--rootdir={files[0].parents[1]}", "--color=no", "-q", *arguments, *map(str, files)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = pytest.main(words, plugins=[plugin])
    text = printed.getvalue()
    if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return plugin.results, text
    raise InputError(f"the tests in {files[0].parent} cannot be run: {cause(text)}")


def cause(text: str) -> str:
    """The line of pytest's output that says why it did not run the tests."""
    lines = [printable(line.strip(), 300) for line in text.splitlines() if line.strip()]
    for start in ("E  ", "ERROR", "INTERNALERROR>"):
        for line in reversed(lines):
            if line.startswith(start):
                return line.removeprefix(start).strip(": ")
    return lines[-1] if lines else "pytest said nothing"


def lost(error: HostError) -> Result:
    """A host that could not be verified at all."""
    return Result(error.host, "reached", Verdict("failed", error.message))
