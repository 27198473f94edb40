"""Lines of progress, added up by blob."""

import json

import pytest

from provision.models.progress import StreamProgress
from provision.resources.base import Progress


def feed(*lines: object) -> list[Progress | None]:
    progress = StreamProgress("m")
    return [progress(line if isinstance(line, str) else json.dumps(line)) for line in lines]


def test_bytes_are_added_up_by_digest_and_never_by_line() -> None:
    found = feed(
        {"status": "pulling manifest"},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 40},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 100},
        {"status": "pulling bb", "digest": "sha256:bb", "total": 10, "completed": 5},
        {"status": "success"},
    )
    assert [(step.done, step.total) for step in found if step] == [
        (0, 0),
        (0, 100),
        (40, 100),
        (100, 100),
        (105, 110),
        (105, 110),
    ]
    assert found[-1] is not None
    assert found[-1].text == "m: success"


def test_layers_of_an_image_count_as_downloaded_while_they_are_unpacked() -> None:
    found = feed(
        {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "id": "a"},
        {"status": "Downloading", "progressDetail": {"current": 2, "total": 20}, "id": "b"},
        {"status": "Download complete", "progressDetail": {}, "id": "a"},
        {"status": "Extracting", "progressDetail": {"current": 1, "total": 10}, "id": "a"},
        {"status": "Pull complete", "progressDetail": {}, "id": "a"},
    )
    assert [(step.done, step.total) for step in found if step] == [(5, 10), (7, 30), (12, 30), (12, 30), (12, 30)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"error": "pull model manifest: file does not exist"}, "file does not exist"),
        ({"errorDetail": {"message": "no space left"}, "error": "no space left"}, "no space left"),
        ({"message": "pull access denied"}, "pull access denied"),
        ({"error": "\u001b[31mred"}, "red"),
    ],
)
def test_a_line_that_says_failure_is_one_although_the_status_was_200(line: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feed({"status": "pulling"}, line)


@pytest.mark.parametrize("line", ["", "no json", "[1]", '"text"', "{", "null"])
def test_other_lines_say_nothing(line: str) -> None:
    assert feed(line) == [None]


def test_an_attempt_that_failed_is_told_and_counting_begins_anew() -> None:
    found = feed(
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 40},
        "again: attempt 2 of 5 in 2 s: EOF",
        {"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": 10},
    )
    assert [step and step.done for step in found] == [40, 0, 10]


def test_wild_numbers_are_no_progress() -> None:
    (found,) = feed({"status": "x", "digest": "sha256:aa", "total": "many", "completed": -5})
    assert found == Progress("m: x", 0, 0)
