"""`provision verify` on a real server that is as declared: green, with the fleet's own tests, as JUnit.

That its checks can fail is shown by test_sabotage.py.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.sabotages import SERVER

CHECKS = {"drift", "packages", "files", "users", "service ollama", "secrets", "one ollama", *SERVER}
OWN_TESTS = """\
def test_ollama_runs_as_its_user(host, declared, facts):
    assert host.user("ollama").exists
    assert host.service("ollama").is_running
    assert any(resource.id == "service:ollama" for resource in declared.resources)
    assert facts.os.id == "debian"


def test_fleet_has_one_host(fleet):
    assert list(fleet.hosts) == ["gpu01"]
"""


@pytest.fixture(scope="module")
def office(host: LabHost, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"), environ={"OFFICE_KEY": "correct-horse-battery"})
    made.add(host, "gpu01", provision_roles=["base", "ollama", "models", "files"], artifacts=str(lab.artifacts))
    made.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True}
    made.variables["files"] = {"files": {"/etc/office.key": {"secret": "env:OFFICE_KEY"}}}
    made.variables["models"] = {
        "tiny": {"gguf": str(lab.artifacts / "tiny.gguf")},
        "assistant": {"from": "tiny", "parameters": {"num_ctx": 512, "num_predict": 5}},
    }
    made.check("apply", timeout=600)
    return made


@pytest.fixture
def own_tests(office: Office) -> Iterator[str]:
    """The fleet's own tests; they are removed afterwards."""
    file = office.folder / "tests" / "test_office.py"
    file.parent.mkdir()
    file.write_text(OWN_TESTS)
    yield file.name
    file.unlink()
    file.parent.rmdir()


def test_a_converged_host_passes_every_check(office: Office) -> None:
    ended = office.run("verify", "--json")
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert {one["check"]: one["message"] for one in found if one["status"] != "passed"} == {}, ended.err
    assert ended.rc == 0
    assert {one["check"] for one in found} >= CHECKS
    (speed,) = (one["figures"] for one in found if one["check"] == "generation tiny")
    assert speed["tokens_per_second"] > 0


def test_the_fleets_own_tests_run_on_the_same_sessions(office: Office, own_tests: str) -> None:
    shown = office.check("verify")
    assert f"{own_tests}::test_ollama_runs_as_its_user" in shown
    assert f"{own_tests}::test_fleet_has_one_host" in shown


def test_a_failure_of_an_own_test_is_told_with_its_cause(office: Office, own_tests: str) -> None:
    file = office.folder / "tests" / own_tests
    file.write_text(file.read_text().replace('["gpu01"]', '["gpu02"]'))
    ended = office.run("verify")
    assert ended.rc == 1
    assert "test_fleet_has_one_host: failed: AssertionError: assert ['gpu01'] == ['gpu02']" in ended.out


def test_a_syntax_error_in_an_own_test_is_wrong_input_and_the_rest_stands(office: Office, own_tests: str) -> None:
    (office.folder / "tests" / own_tests).write_text("def test_x(host)\n    pass\n")
    ended = office.run("verify")
    assert ended.rc == 3
    assert ended.err == f"tests/{own_tests}:1: SyntaxError: expected ':'; its tests were not run\n"
    assert "Traceback" not in ended.out + ended.err
    assert "generation tiny" in ended.out


def test_a_server_that_is_slower_than_demanded_fails(office: Office) -> None:
    office.variables["ollama"]["min_tokens_per_second"] = 1_000_000
    ended = office.run("verify", "--json")
    del office.variables["ollama"]["min_tokens_per_second"]
    assert ended.rc == 1
    found = {one["check"]: one for one in map(json.loads, ended.out.splitlines()) if one["status"] != "passed"}
    assert set(found) == {"generation tiny", "generation assistant"}
    assert found["generation tiny"]["message"].endswith(" tokens/s, at least 1e+06 are demanded")
    assert found["generation tiny"]["figures"]["tokens_per_second"] > 0


def test_arguments_choose_tests_and_what_tests_nothing_is_no_pass(office: Office, own_tests: str) -> None:
    shown = office.check("verify", "--", f"tests/{own_tests}::test_fleet_has_one_host")
    assert "1 passed in" in shown
    assert "test_ollama_runs_as_its_user" not in shown
    wrong = office.run("verify", "all", "--", "-n", "2")
    assert (wrong.rc, "cannot be run: unrecognized arguments: -n" in wrong.err) == (3, True)


def test_junit_has_every_check(office: Office, own_tests: str) -> None:
    shown = office.check("verify", "--junit", "reports/proof.xml", "--perf")
    assert re.search(r"^host +model +tokens/s +change +load s\ngpu01  \S+ +\d+\.\d +[+-]\d+%", shown, re.MULTILINE)
    root = ET.parse(office.folder / "reports" / "proof.xml").getroot()
    cases = {str(case.get("name")): case for case in root.iter("testcase")}
    assert set(cases) >= CHECKS | {f"{own_tests}::test_fleet_has_one_host"}
    assert not list(root.iter("failure"))
    speeds = {one.get("name"): float(one.get("value") or 0) for one in cases["generation tiny"].iter("property")}
    assert speeds["tokens_per_second"] > 0
