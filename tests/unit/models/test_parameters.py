"""Parameters typed by YAML or by text."""

import pytest

from provision.models import parameters


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_ctx", 4096, 4096),
        ("num_ctx", 4096.0, 4096),
        ("num_ctx", "4096", 4096),
        ("seed", -1, -1),
        ("temperature", 1, 1.0),
        ("temperature", "0.7", 0.7),
        ("use_mmap", False, False),
        ("use_mmap", "true", True),
        ("stop", "a", ["a"]),
        ("stop", ["a", "b"], ["a", "b"]),
    ],
)
def test_a_value_gets_its_type(name: str, value: object, expected: object) -> None:
    found = parameters.from_value(name, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_ctx", 1.5), ("num_ctx", True), ("num_ctx", None), ("temperature", [1]), ("use_mmap", 1), ("stop", []),
     ("stop", [1]), ("stop", ""), ("temperature", float("inf")), ("nope", 1)],
)  # fmt: skip
def test_a_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="parameter"):
        parameters.from_value(name, value)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(1, 1.0, True), (0.7, 0.699999988079071, True), (0.7, 0.71, False), (True, 1, False), (["a"], ["a"], True),
     (["a", "b"], ["b", "a"], False)],
)  # fmt: skip
def test_numbers_are_the_same_as_the_server_keeps_them(one: object, other: object, expected: bool) -> None:
    assert parameters.same(one, other) is expected
