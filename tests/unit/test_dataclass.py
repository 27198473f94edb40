"""Our `dataclass` makes what the standard one makes."""

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.dataclass import dataclass


@dataclass(frozen=True)
class Ours:
    """As many kinds of fields as there are."""

    kind: ClassVar[str] = "one"
    name: str
    hidden: int = field(default=0, repr=False)
    aside: int = field(default=0, compare=False)
    many: tuple[Any, ...] = field(default_factory=tuple)


@dataclasses.dataclass(frozen=True)
class Standard:
    kind: ClassVar[str] = "one"
    name: str
    hidden: int = field(default=0, repr=False)
    aside: int = field(default=0, compare=False)
    many: tuple[Any, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Empty:
    pass


@dataclass(frozen=True, kw_only=True)
class Named:
    name: str


@dataclass(frozen=True)
class Derived(Ours):
    more: int = 1


VALUES = st.tuples(st.text(max_size=2), st.integers(0, 1), st.integers(0, 1), st.tuples(st.integers(0, 1)))


@given(VALUES, VALUES)
def test_compares_hashes_and_shows_as_the_standard_one(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (Ours(*one) == Ours(*other)) == (Standard(*one) == Standard(*other))
    assert (hash(Ours(*one)) == hash(Ours(*other))) == (hash(Standard(*one)) == hash(Standard(*other)))
    assert repr(Ours(*one)) == repr(Standard(*one)).replace("Standard", "Ours")
    assert dataclasses.asdict(Ours(*one)) == dataclasses.asdict(Standard(*one))


def test_is_frozen() -> None:
    one = Ours("a")
    for name in ("name", "aside", "many", "unknown"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(one, name, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    assert one == Ours("a")


def test_copies() -> None:
    one = Ours("a", 1, 2, (3,))
    changed = dataclasses.replace(one, name="b")
    assert changed == Ours("b", 1, 2, (3,)) and changed.aside == 2
    assert pickle.loads(pickle.dumps(one)) == one == copy.deepcopy(one)


def test_derived_keyword_only_and_empty_classes() -> None:
    assert Derived("a") == Derived("a") != Ours("a") and Derived("a", more=2) != Derived("a")
    assert repr(Derived("a")) == "Derived(name='a', aside=0, many=(), more=1)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Derived("a").more = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Named("a")  # type: ignore[call-arg]
    assert Named(name="a") == Named(name="a") and Empty() == Empty() and hash(Empty()) == hash(Empty())


def test_methods_of_the_class_itself_stay() -> None:
    @dataclass(frozen=True)
    class Own:
        name: str

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    assert Own("a") == 3 and hash(Own("a")) == 7 and repr(Own("a")) == "own"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Own("a").name = "b"  # type: ignore[misc]
