"""The fleet's own tests: what is run, what each one gets, and what is told of those that cannot be run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from provision.engine.plan import Declared
from provision.errors import InputError
from provision.inventory import Fleet, load
from provision.roles import RoleSchemas
from provision.verify.arguments import refuse
from provision.verify.host import Verified
from provision.verify.own_tests import Ran, run_tests

INVENTORY = "all: {hosts: {gpu01: {}, gpu02: {}}}\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    path = tmp_path / "inventory" / "office.yml"
    path.parent.mkdir()
    (tmp_path / "tests").mkdir()
    path.write_text(INVENTORY)
    return load(path, RoleSchemas(path))


def verified(name: str) -> Verified:
    """A host that answers every command with its own name."""
    session: Any = SimpleNamespace(name=name, run=lambda text: SimpleNamespace(rc=0, out=f"{name}\n".encode(), err=b""))
    return Verified(session, cast(Any, f"facts of {name}"), Declared(name, ()), (), cast(Any, None))


def run(fleet: Fleet, files: dict[str, str], *arguments: str) -> Ran:
    for name, text in files.items():
        (fleet.base.parent / "tests" / name).write_text(text)
    return run_tests(fleet, {name: verified(name) for name in fleet.hosts}, arguments)


def told(ran: Ran) -> list[tuple[str, str, str]]:
    return [(one.host, one.check, one.verdict.status) for one in ran.results]


ORDINARY = """\
import helper
import pytest


@pytest.fixture(scope="module")
def name(host):
    return host.check_output("hostname")


def test_each(name, declared, facts):
    assert name == declared.host
    assert facts == f"facts of {name}"


@pytest.mark.parametrize("n", [1, 2])
def test_several(host, n):
    assert n != helper.WRONG, repr(host)


def test_once(fleet):
    assert list(fleet.hosts) == ["gpu01", "gpu02"]
    pytest.skip("no time")


def test_strange(nosuch):
    pass
"""


def test_each_host_gets_its_own_tests_and_a_failure_is_told_by_its_cause(fleet: Fleet) -> None:
    ran = run(fleet, {"test_a.py": ORDINARY, "helper.py": "WRONG = 2\n"})
    assert sorted(told(ran)) == [
        ("fleet", "test_a.py::test_once", "skipped"),
        ("fleet", "test_a.py::test_strange", "failed"),
        *(
            (host, f"test_a.py::test_{name}", status)
            for host in ("gpu01", "gpu02")
            for name, status in (("each", "passed"), ("several[1]", "passed"), ("several[2]", "failed"))
        ),
    ]
    messages = {(one.host, one.check): one.verdict.message for one in ran.results}
    assert "provision://gpu02" in messages["gpu02", "test_a.py::test_several[2]"]
    assert messages["fleet", "test_a.py::test_once"] == "Skipped: no time"
    assert messages["fleet", "test_a.py::test_strange"].startswith("there is no fixture 'nosuch'; known here: host, ")
    assert ran.problems == ()
    assert "warning" not in ran.printed


FINE = {"test_fine.py": "def test_it(host):\n    pass\n\n\ndef test_more():\n    pass\n"}
BOTH = {("gpu01", "test_fine.py::test_it"), ("gpu02", "test_fine.py::test_it"), ("fleet", "test_fine.py::test_more")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def test_x(host)\n    pass\n", "tests/test_x.py:1: SyntaxError: expected ':'"),
        ("import nosuch_module\n", "tests/test_x.py:1: ModuleNotFoundError: No module named 'nosuch_module'"),
        ("\ndef f():\n    raise ValueError('a\\nb')\n\n\nf()\n", "tests/test_x.py:3: ValueError: a b"),
    ],
)
def test_a_file_that_cannot_be_read_has_its_place_and_the_others_are_run(fleet: Fleet, text: str, problem: str) -> None:
    ran = run(fleet, FINE | {"test_x.py": text})
    assert [str(one) for one in ran.problems] == [f"{problem}; its tests were not run"]
    assert {(host, check) for host, check, _ in told(ran)} == BOTH


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-k", "typo"), ": none is chosen by -k typo"),
        (("-k", "and and"), " cannot be run: Wrong expression passed to '-k': and and"),
        (("--bogus",), " cannot be run: unrecognized arguments: --bogus"),
        # In processes of its own no test would find a session, and none would be told.
        (("-n", "2"), " cannot be run: unrecognized arguments: -n"),
        (("tests/no.py",), " cannot be run: file or directory not found: tests/no.py"),
        (("-p", "no_such_plugin"), ' cannot be run: Error importing plugin "no_such_plugin"'),
    ],
)
def test_arguments_by_which_nothing_would_be_tested_are_wrong_input(
    fleet: Fleet, arguments: tuple[str, ...], problem: str
) -> None:
    ran = run(fleet, FINE, *arguments)
    assert ran.results == ()
    (one,) = ran.problems
    assert str(one).startswith(f"the tests in {fleet.base.parent / 'tests'}{problem}")


def test_what_stops_all_of_them_is_told(fleet: Fleet) -> None:
    ran = run(fleet, FINE | {"conftest.py": "raise RuntimeError('broken')\n"})
    (one,) = ran.problems
    assert str(one).endswith("tests/conftest.py:1: RuntimeError: broken")
    (fleet.base.parent / "tests" / "conftest.py").unlink()
    ran = run(fleet, {"test_fine.py": "import pytest\n\n\ndef test_it():\n    pytest.exit('enough')\n"})
    assert [str(one).rpartition(": ")[2] for one in ran.problems] == ["enough"]


def test_ctrl_c_in_them_is_told_as_such(fleet: Fleet) -> None:
    ran = run(fleet, {"test_fine.py": "def test_a():\n    pass\n\n\ndef test_it():\n    raise KeyboardInterrupt\n"})
    assert [error.exit_code for error in ran.problems] == [130]
    assert [result.check for result in ran.results] == ["test_fine.py::test_a"]


def test_arguments_choose_files_and_tests(fleet: Fleet) -> None:
    more = FINE | {"test_other.py": "def test_other():\n    pass\n"}
    file = str(fleet.base.parent / "tests" / "test_fine.py")
    assert {check for _, check, _ in told(run(fleet, more, f"{file}::test_more"))} == {"test_fine.py::test_more"}
    rest = {"test_fine.py::test_it", "test_other.py::test_other"}
    assert {check for _, check, _ in told(run(fleet, more, "--deselect", "tests/test_fine.py::test_more"))} == rest
    assert "2/4 tests collected" in run(fleet, more, "--collect-only", file, "-k", "it").printed


def test_what_cannot_be_given_to_them_is_refused_before_any_host_is_asked(fleet: Fleet) -> None:
    refuse(fleet, ())
    with pytest.raises(InputError, match=r"no tests for the arguments -k x; the fleet's own are .*/tests/test_\*\.py"):
        refuse(fleet, ("-k", "x"))
    (fleet.base.parent / "tests" / "test_fine.py").write_text("")
    refuse(fleet, ("-k", "x"))
    with pytest.raises(InputError, match="--pdb cannot ask anybody"):
        refuse(fleet, ("--pdb",))
    assert run_tests(fleet, {}, ()).problems == ()
