import pytest

from provision.engine.events import ChangeFinished, ChangeStarted, HostFinished, HostPlanned, Note, Status
from provision.report.text import Style, diff_lines, event_lines, plan_lines, recap_line
from provision.resources.base import Change, Diff

PLAIN = Style(False)
CHANGES = (
    Change("release:ollama", "install", "version 0.9.3 -> 0.9.4", download=1_234_000_000),
    Change(
        "file:/etc/x", "update", "content differs",
        {"mode": "0600", "owner": "root"}, {"mode": "0644", "owner": "root"}, (Diff("/etc/x", "a\nb\n", "a\nc\n"),),
    ),
    Change("service:ollama", "restart", "unknown until release:ollama is applied", uncertain=True),
)  # fmt: skip


def planned(*changes: Change, unchanged: int = 39, gone: tuple[str, ...] = ()) -> HostPlanned:
    return HostPlanned(host="gpu02", changes=changes, unchanged=unchanged, no_longer_declared=gone)


def test_a_plan_as_a_reader_wants_it() -> None:
    assert list(plan_lines(planned(*CHANGES, gone=("model:old",)), PLAIN, diff=True)) == [
        "gpu02: 3 changes, 39 unchanged, 1.2 GB to download",
        "  + install  release:ollama  version 0.9.3 -> 0.9.4, 1.2 GB",
        "  ~ update   file:/etc/x  content differs",
        "      --- /etc/x",
        "      +++ /etc/x",
        "      @@ -1,2 +1,2 @@",
        "       a",
        "      -b",
        "      +c",
        "  ~ restart  service:ollama  unknown until release:ollama is applied",
        "  no longer declared, left as it is:",
        "    model:old",
    ]


def test_without_changes_a_host_is_one_line() -> None:
    assert list(plan_lines(planned(unchanged=42), PLAIN)) == ["gpu02: nothing to change, 42 resources as declared"]


def test_verbose_shows_what_differs_field_by_field() -> None:
    assert "      mode: 0600 -> 0644" in list(plan_lines(planned(CHANGES[1]), PLAIN, verbose=1))
    assert not [line for line in plan_lines(planned(CHANGES[1]), PLAIN, verbose=1) if "owner" in line]


def test_what_a_host_says_cannot_drive_the_terminal() -> None:
    change = Change("file:/x\x1b[2J", "update", "why\r\x07\x1b]0;title\x07", diffs=(Diff("/x", "\x1b[31m", "\u202e"),))
    text = "\n".join(plan_lines(planned(change), PLAIN, diff=True, verbose=1))
    assert not set(text) & {"\x1b", "\r", "\x07", "\u202e"}


@pytest.mark.parametrize(("before", "after", "head"), [("", "a\n", "--- /dev/null"), ("a\n", "", "--- /x")])
def test_a_new_or_removed_file_is_compared_with_nothing(before: str, after: str, head: str) -> None:
    assert next(diff_lines(Diff("/x", before, after), PLAIN)).strip() == head


def test_a_long_diff_is_cut() -> None:
    lines = list(diff_lines(Diff("/x", "", "line\n" * 1000), PLAIN))
    assert len(lines) == 401
    assert lines[-1].strip() == "… 603 more lines"


def test_colours_only_where_wanted() -> None:
    assert "\x1b[32m" in "\n".join(plan_lines(planned(*CHANGES), Style(True)))
    assert "\x1b" not in "\n".join(plan_lines(planned(*CHANGES), PLAIN))


def ended(status: Status, error: str = "") -> HostFinished:
    return HostFinished(host="gpu02", status=status, changed=3, unchanged=41, seconds=12.44, error=error)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("changed", "gpu02  3 changed  41 unchanged  12.4 s"),
        ("ok", "gpu02  3 changed  41 unchanged  12.4 s"),
        ("failed", "gpu02  failed  3 changed  41 unchanged  12.4 s"),
        ("interrupted", "gpu02  interrupted  3 changed  41 unchanged  12.4 s"),
        ("unreachable", "gpu02  unreachable"),
        ("skipped", "gpu02  skipped"),
    ],
)
def test_one_recap_line_a_host(status: Status, line: str) -> None:
    assert recap_line(ended(status), PLAIN, 5) == line


def test_recap_lines_stand_in_columns() -> None:
    assert recap_line(ended("ok"), PLAIN, 8).startswith("gpu02     3 changed")


def test_plain_lines_say_what_begins_and_only_slow_things_say_that_they_are_done() -> None:
    begin = ChangeStarted(host="gpu02", resource="package:curl", action="install")
    quick = ChangeFinished(host="gpu02", resource="package:curl", action="install", seconds=0.2)
    slow = ChangeFinished(host="gpu02", resource="package:curl", action="install", seconds=21.26)
    assert list(event_lines(begin, PLAIN)) == ["gpu02: install package:curl"]
    assert list(event_lines(quick, PLAIN)) == []
    assert list(event_lines(slow, PLAIN)) == ["gpu02: install package:curl done, 21.3 s"]
    assert list(event_lines(Note(host="gpu02", text="waiting"), PLAIN)) == ["gpu02: waiting"]
