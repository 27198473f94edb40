"""The table, the messages, JSON, JUnit and speeds."""

import json
import xml.etree.ElementTree as ET

from provision.verify import report
from provision.verify.check import Result, Verdict

RESULTS = [
    Result("gpu01", "services", Verdict("failed", "ollama.service is inactive")),
    Result("gpu01", "generation a", Verdict("blocked", "blocked by services")),
    Result("gpu02", "services", Verdict("passed")),
    Result("gpu02", "generation a", Verdict("passed", "", {"tokens_per_second": 40.0, "load_seconds": 0.5})),
    Result("gpu03", "generation a", Verdict("passed", "", {"tokens_per_second": 7.25, "load_seconds": 2.0})),
]


def test_a_column_for_each_host_and_a_dash_where_there_is_no_such_check() -> None:
    assert list(report.table(RESULTS, 80)) == [
        "              gpu01    gpu02    gpu03",
        "services      FAILED   ok       -",
        "generation a  blocked  ok       ok",
        "",
    ]


def test_hosts_that_do_not_fit_come_below() -> None:
    lines = list(report.table(RESULTS, 30))
    assert lines[0].split() == ["gpu01", "gpu02"]
    assert lines[4:] == ["              gpu03", "generation a  ok", ""]


def test_failures_come_last_with_their_cause_and_the_sum() -> None:
    assert list(report.messages(RESULTS)) == [
        "gpu01: generation a: blocked by services",
        "gpu01: services: failed: ollama.service is inactive",
        "3 passed, 1 failed, 1 blocked",
    ]


def test_the_slowest_comes_first_and_is_compared_with_the_last_time() -> None:
    before = {("gpu02", "generation a"): 50.0}
    assert [line.split() for line in report.speeds(RESULTS, before)][1:] == [
        ["gpu03", "a", "7.2", "-", "2.00"],
        ["gpu02", "a", "40.0", "-20%", "0.50"],
    ]


def test_json_is_one_object() -> None:
    assert json.loads(report.as_json(RESULTS[3])) == {
        "host": "gpu02",
        "check": "generation a",
        "status": "passed",
        "message": "",
        "figures": {"tokens_per_second": 40.0, "load_seconds": 0.5},
    }


def test_junit_has_a_suite_for_each_host() -> None:
    hostile = Result("gpu01", "x", Verdict("failed", "a\x00<b>"))
    root = ET.fromstring(report.junit([*RESULTS, hostile]))
    suites = {suite.get("name"): suite for suite in root}
    assert suites["gpu01"].attrib == {"name": "gpu01", "tests": "3", "failures": "2", "errors": "0", "skipped": "1"}
    failures = [failure.get("message") for failure in suites["gpu01"].iter("failure")]
    assert failures == ["ollama.service is inactive", "a<b>"]
    assert [one.get("value") for one in suites["gpu03"].iter("property")] == ["7.25", "2"]
