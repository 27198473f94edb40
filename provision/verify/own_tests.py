"""The fleet's own tests, `tests/test_*.py` beside the inventory: run by pytest in this process, on our sessions.

testinfra is not maintained any more, so that the seam is thin: one class whose `run` is the session's.
"""

import contextlib
import io
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from provision.dataclass import dataclass
from provision.errors import InputError, Interrupted, ProvisionError
from provision.facts.model import Identity
from provision.inventory.fleet import Fleet
from provision.values import printable
from provision.verify.arguments import find_tests, names_files
from provision.verify.check import FLEET, Result, Status, Verdict
from provision.verify.host import Verified

if TYPE_CHECKING:
    from testinfra.host import Host

# testinfra's own `host` would be the control machine. xdist's tests run in processes that have no sessions.
_WITHOUT = ("pytest11.testinfra", "xdist")


def testinfra_host(verified: Verified) -> "Host":
    """The `Host` of testinfra on the session of `verified`: sudo, bastions and passwords are the session's."""
    from testinfra.backend.base import BaseBackend, CommandResult
    from testinfra.host import Host

    class Backend(BaseBackend):  # type: ignore[misc]
        NAME = "provision"

        def run(self, command: str, *args: str, **_: object) -> CommandResult:
            text = self.get_command(command, *args)
            answer = verified.session.run(text)
            return self.result(answer.rc, text.encode(), answer.out, answer.err)

    backend = Backend(verified.session.name)
    host = Host(backend)
    backend.set_host(host)
    return host


def fixtures(fleet_read: Fleet, verified: Mapping[str, Verified]) -> ModuleType:
    """A plugin of pytest that gives tests `host`, `declared`, `facts` and `fleet`.

    A module, for from version 10 on pytest takes no methods whose scope is the session.
    """
    made: dict[str, Host] = {}

    @pytest.fixture(scope="session")
    def _provision_host(request: pytest.FixtureRequest) -> Verified:
        return verified[request.param]

    @pytest.fixture(scope="session")
    def host(_provision_host: Verified) -> "Host":
        """The host, as testinfra sees it."""
        name = _provision_host.declared.host
        if name not in made:
            made[name] = testinfra_host(_provision_host)
        return made[name]

    @pytest.fixture(scope="session")
    def declared(_provision_host: Verified) -> Any:
        """Its resources, `(role, resource)` as `declared.entries`."""
        return _provision_host.declared

    @pytest.fixture(scope="session")
    def facts(_provision_host: Verified) -> Identity:
        """What it is."""
        return _provision_host.identity

    @pytest.fixture(scope="session")
    def fleet() -> Fleet:
        """The inventory."""
        return fleet_read

    plugin = ModuleType("provision_fixtures")
    found = {"_provision_host": _provision_host, "host": host, "declared": declared, "facts": facts, "fleet": fleet}
    vars(plugin).update(found)
    return plugin


@dataclass
class Plugin:
    """Runs tests that use a host once for each, and keeps what came of all.

    Args:
        hosts: names.
        folder: the tests are below it; files are named from there.
        results: of tests, in their order.
        broken: files that could not be read, one line each with the place and the cause.
        interrupted: by Ctrl-C.
    """

    hosts: Sequence[str]
    folder: Path
    results: list[Result] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    interrupted: bool = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Called for `pytest.exit()` as well."""
        self.interrupted = isinstance(excinfo.value, KeyboardInterrupt)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Tests that use a host run once for each."""
        if {"host", "declared", "facts"} & set(metafunc.fixturenames):
            metafunc.parametrize("_provision_host", list(self.hosts), indirect=True, scope="session")

    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any], report: object
    ) -> None:
        """Keep what kept a file from being read."""
        if isinstance(report, pytest.CollectReport) and call.excinfo is not None:
            error = call.excinfo.value
            self.broken.append(self._place(node, error.__cause__ or error))

    def _place(self, node: pytest.Item | pytest.Collector, error: BaseException) -> str:
        path = getattr(node, "path", self.folder)
        places = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        text = "".join(traceback.format_exception_only(error)[-1:])
        if isinstance(error, SyntaxError):
            places = [(Path(error.filename or path), error.lineno)]
            text = f"{type(error).__name__}: {error.msg}"
        own = [place for place in places if place[0].is_relative_to(self.folder)] or [(path, None)]
        file, line = own[-1]
        where = file.relative_to(self.folder) if file.is_relative_to(self.folder) else file
        return f"{where}{f':{line}' if line else ''}: {printable(' '.join(text.split()), 300)}"

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
        text = _said(error.value, error.exconly(tryshort=True)) if error is not None else ""
        return Result(host, name, Verdict(status, printable(text, 1000)), report.duration)


def _said(error: BaseException, text: str) -> str:
    """Some of pytest's own exceptions are no sentences."""
    if type(error).__name__ == "FixtureLookupError":
        return f"there is no fixture {getattr(error, 'argname', '')!r}; known here: host, declared, facts, fleet"
    return text.removeprefix("_pytest.outcomes.")


@dataclass(frozen=True)
class Ran:
    """What came of the tests: verdicts, what pytest printed, and what could not be run."""

    results: tuple[Result, ...] = ()
    printed: str = ""
    problems: tuple[ProvisionError, ...] = ()


def run_tests(fleet: Fleet, verified: Mapping[str, Verified], arguments: Sequence[str]) -> Ran:
    """Run them.

    Args:
        fleet: the inventory.
        verified: hosts that were reached.
        arguments: for pytest. With a file among them (`tests/test_x.py::test_y`) only that is run.
    """
    files = find_tests(fleet)
    if not files:
        return Ran()
    folder = files[0].parents[1].resolve()
    plugin = Plugin(list(verified), folder)
    words = [word for name in _WITHOUT for word in ("-p", f"no:{name}")]
    words += ["-p", "no:cacheprovider", "--import-mode=importlib", "--continue-on-collection-errors"]
    words += [f"--rootdir={folder}", "--color=no", "-q", *arguments]
    words += [] if names_files(arguments) else map(str, files)
    printed = io.StringIO()
    with _importable(files), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = pytest.main(words, plugins=[fixtures(fleet, verified), plugin])
    text = printed.getvalue()
    where = f"the tests in {files[0].parent}"
    problems: list[ProvisionError] = [InputError(one, "its tests were not run") for one in plugin.broken]
    failed = any(result.verdict.status == "failed" for result in plugin.results)
    if plugin.interrupted:
        problems.append(Interrupted(f"{where} were interrupted"))
    elif code == pytest.ExitCode.NO_TESTS_COLLECTED and arguments and not problems:
        problems.append(InputError(f"{where}: none is chosen by {' '.join(arguments)}"))
    elif code not in _USUAL or (code == pytest.ExitCode.TESTS_FAILED and not (failed or problems)):
        problems.append(InputError(f"{where} cannot be run: {cause(text)}"))
    return Ran(tuple(plugin.results), text, tuple(problems))


_USUAL = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


@contextlib.contextmanager
def _importable(files: Sequence[Path]) -> Iterator[None]:
    """Modules beside the tests can be imported by them. Afterwards nothing of theirs is left in this process."""
    paths, modules = list(sys.path), set(sys.modules)
    sys.path[:0] = dict.fromkeys(str(file.parent.resolve()) for file in files)
    try:
        yield
    finally:
        sys.path[:] = paths
        for name in sys.modules.keys() - modules:
            if any(_is_in(sys.modules[name], file.parent) for file in files):
                del sys.modules[name]


def _is_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder.resolve())


def cause(text: str) -> str:
    """The line of pytest's output that says why it did not run the tests, with its place where that is said."""
    if usage := re.search(r"(?m)^\S*: error: (.+)$", text):
        return printable(usage[1], 300)
    lines = [printable(line.strip(), 300) for line in text.splitlines() if line.strip()]
    for start in ("E  ", "ERROR", "INTERNALERROR>", "!!!"):
        for number, line in reversed(list(enumerate(lines))):
            if line.startswith(start):
                places = (re.match(r"(\S+:\d+): in ", before) for before in reversed(lines[:number]))
                place = next((f"{found[1]}: " for found in places if found), "") if start == "E  " else ""
                return place + line.removeprefix(start).strip(":! ")
    return lines[-1] if lines else "pytest said nothing"
