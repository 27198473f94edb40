import pytest

from provision.engine.shard import Shard
from provision.errors import InputError

NAMES = [f"gpu{number:04}.office.lan" for number in range(1000)]


@pytest.mark.parametrize("parts", [1, 2, 7, 10])
def test_every_host_is_in_exactly_one_part(parts: int) -> None:
    owners = [[part for part in range(1, parts + 1) if Shard(part, parts).has(name)] for name in NAMES]
    assert {len(owner) for owner in owners} == {1}
    sizes = [owners.count([part]) for part in range(1, parts + 1)]
    assert min(sizes) > 0.7 * len(NAMES) / parts


def test_a_name_says_the_part_on_every_machine_and_for_ever() -> None:
    # Runners of several releases may share a fleet: these do not change.
    parts = {name: next(part for part in (1, 2, 3) if Shard(part, 3).has(name)) for name in "abcdefgh"}
    assert "".join(str(part) for part in parts.values()) == "22333133"


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "a/b", "1/2/3", "-1/3", "1.5/3"])
def test_a_wrong_part_is_one_clear_line(text: str) -> None:
    with pytest.raises(InputError, match=r"--shard: '.*' is not K/N, such as 2/5: part 2 of 5"):
        Shard.parse(text)


def test_a_part_as_it_is_typed() -> None:
    assert Shard.parse(" 2/5 ") == Shard(2, 5)
