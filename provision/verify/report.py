"""How verdicts look: a table, JSON, JUnit, speeds. Pure: results in, text out; the caller masks it."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

from provision.values import printable
from provision.verify.check import Result, Status
from provision.verify.history import Speeds

_SIGNS: dict[Status, str] = {"passed": "ok", "failed": "FAILED", "skipped": "skipped", "blocked": "blocked"}
_COLORS: dict[Status, str] = {"passed": "32", "failed": "31", "skipped": "36", "blocked": "33"}


def table(results: Sequence[Result], width: int, color: bool = False) -> Iterator[str]:
    """A row for each check, a column for each host; as many hosts side by side as `width` characters hold."""
    hosts = list(dict.fromkeys(result.host for result in results))
    checks = list(dict.fromkeys(result.check for result in results))
    found = {(result.host, result.check): result.verdict.status for result in results}
    first = max((len(name) for name in checks), default=0)
    column = max([*(len(name) for name in hosts), *map(len, _SIGNS.values())]) + 2
    beside = max(1, (width - first) // column)
    for start in range(0, len(hosts), beside):
        some = hosts[start : start + beside]
        yield "".join((" " * first, *(f"  {name:<{column - 2}}" for name in some))).rstrip()
        for name in checks:
            if any((host, name) in found for host in some):
                cells = (_cell(found.get((host, name)), column - 2, color) for host in some)
                yield f"{name:<{first}}{''.join(f'  {cell}' for cell in cells)}".rstrip()
        yield ""


def _cell(status: Status | None, width: int, color: bool) -> str:
    text = f"{_SIGNS[status] if status else '-':<{width}}"
    return f"\x1b[{_COLORS[status]}m{text}\x1b[0m" if status and color else text


def messages(results: Sequence[Result]) -> Iterator[str]:
    """What failed and why, what was skipped, and the sum of all."""
    for status in ("skipped", "blocked", "failed"):
        for result in results:
            if result.verdict.status == status:
                text = printable(result.verdict.message, 1000)
                yield f"{result.host}: {result.check}: {'' if status == 'blocked' else status + ': '}{text}"
    counts = {status: sum(result.verdict.status == status for result in results) for status in _SIGNS}
    yield ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to check"


def as_json(result: Result) -> str:
    """One object, one line: `host`, `check`, `status`, `message`, `figures`."""
    verdict = result.verdict
    value = {"host": result.host, "check": result.check, "status": verdict.status, "message": verdict.message}
    return json.dumps(value | {"figures": dict(verdict.figures)}, ensure_ascii=False)


def speeds(results: Sequence[Result], before: Speeds) -> Iterator[str]:
    """Tokens a second, the change since the last time, and seconds to load of every generation, the slowest first."""
    rows = [result for result in results if "tokens_per_second" in result.verdict.figures]
    rows.sort(key=lambda result: result.verdict.figures["tokens_per_second"])
    cells = [("host", "model", "tokens/s", "change", "load s")]
    for result in rows:
        figures: Mapping[str, float] = result.verdict.figures
        model = result.check.removeprefix("generation ")
        speed, last = figures["tokens_per_second"], before.get((result.host, result.check))
        change = f"{speed / last - 1:+.0%}" if last else "-"
        cells.append((result.host, model, f"{speed:.1f}", change, f"{figures['load_seconds']:.2f}"))
    widths = [max(len(row[number]) for row in cells) for number in range(5)]
    for host, model, *numbers in cells:
        columns = (f"{text:>{width}}" for text, width in zip(numbers, widths[2:], strict=True))
        yield "  ".join((f"{host:<{widths[0]}}", f"{model:<{widths[1]}}", *columns))


def junit(results: Sequence[Result]) -> str:
    """JUnit's XML as CI servers read it: a suite for each host, a case for each check; blocked counts as skipped."""
    suites = ET.Element("testsuites", name="provision verify")
    for host in dict.fromkeys(result.host for result in results):
        mine = [result for result in results if result.host == host]
        states = [result.verdict.status for result in mine]
        counts = {"tests": len(mine), "failures": states.count("failed"), "errors": 0}
        counts["skipped"] = states.count("skipped") + states.count("blocked")
        suite = ET.SubElement(suites, "testsuite", {"name": host, **{k: str(v) for k, v in counts.items()}})
        for result in mine:
            attributes = {"classname": host, "name": result.check, "time": f"{result.seconds:.3f}"}
            case = ET.SubElement(suite, "testcase", attributes)
            message = printable(result.verdict.message, 4000)
            if result.verdict.status == "failed":
                ET.SubElement(case, "failure", message=message)
            elif result.verdict.status != "passed":
                ET.SubElement(case, "skipped", message=message)
            for name, value in result.verdict.figures.items():
                ET.SubElement(_properties(case), "property", name=name, value=f"{value:g}")
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _properties(case: ET.Element) -> ET.Element:
    found = case.find("properties")
    return ET.SubElement(case, "properties") if found is None else found
