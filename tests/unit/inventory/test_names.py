import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.inventory.names import did_you_mean, distance, nearest

WORDS = st.text("abc", max_size=6)


@pytest.mark.parametrize(
    ("left", "right", "count"),
    [("", "", 0), ("a", "", 1), ("listen", "lisen", 1), ("listen", "litsen", 1), ("abc", "xyz", 3), ("a", "abcdef", 4)],
)
def test_distance(left: str, right: str, count: int) -> None:
    assert distance(left, right) == count


@given(WORDS, WORDS)
def test_distance_is_the_same_both_ways_and_zero_only_for_equals(left: str, right: str) -> None:
    assert distance(left, right) == distance(right, left)
    assert (distance(left, right) == 0) == (left == right)


@given(WORDS, WORDS, st.integers(0, 3))
def test_a_limit_only_cuts_off(left: str, right: str, limit: int) -> None:
    assert distance(left, right, limit) == min(distance(left, right, 10), limit + 1)


@pytest.mark.parametrize(
    ("word", "candidates", "found"),
    [
        ("lisen", ["listen", "allow"], "listen"),
        ("LISTEN", ["listen"], "listen"),
        ("chat", ["chat.office.lan", "chap"], "chat.office.lan"),
        ("x", ["abcdef", "y"], "y"),
        ("entirely", ["other"], None),
        ("x", [], None),
    ],
)
def test_nearest(word: str, candidates: list[str], found: str | None) -> None:
    assert nearest(word, candidates) == found


@pytest.mark.parametrize(
    ("word", "candidates", "end"),
    [
        ("lisen", ["listen", "allow"], "; did you mean 'listen'?"),
        ("colour", ["b", "a", "a"], "; known: a, b"),
        ("colour", [f"name{n:02}" for n in range(13)], ""),
        ("colour", [], ""),
    ],
)
def test_the_end_of_a_message(word: str, candidates: list[str], end: str) -> None:
    assert did_you_mean(word, candidates) == end
