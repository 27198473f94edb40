from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from provision.engine.order import batches, references, waves, with_needed
from provision.fields import GroupName, HostOrGroup, Visitor
from provision.inventory import load
from provision.inventory.fleet import Fleet


class Backend(BaseModel):
    group: GroupName | None = None
    url: str = ""


class Chat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    backends: Backend | list[Backend] = []
    uses: list[HostOrGroup] = []
    by_name: dict[str, HostOrGroup] = {}
    allow: list[Visitor] = []
    title: str = "inference"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, set()),
        ({"title": "inference"}, set()),
        ({"backends": {"group": "inference"}}, {"inference"}),
        ({"backends": [{"url": "x"}, {"group": "a"}, {"group": "b"}]}, {"a", "b"}),
        ({"uses": ["x", "y"]}, {"x", "y"}),
        ({"by_name": {"k": "x"}}, {"x"}),
        ({"allow": ["web"]}, set()),
    ],
)
def test_references_are_found_wherever_the_settings_hold_them(settings: dict[str, object], wanted: set[str]) -> None:
    assert set(references(Chat.model_validate(settings))) == wanted


def fleet(where: Path, text: str) -> Fleet:
    (where / "inventory.yml").write_text(text)
    return load(where / "inventory.yml", {"chat": Chat})


@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        ({"a": [], "b": [], "c": []}, [["a", "b", "c"]]),
        ({"a": ["b"], "b": [], "c": []}, [["b", "c"], ["a"]]),
        ({"a": ["b"], "b": ["c"], "c": []}, [["c"], ["b"], ["a"]]),
        ({"a": ["all"], "b": [], "c": []}, [["b", "c"], ["a"]]),
        ({"a": ["b"], "b": ["a"], "c": ["a"]}, [["a", "b"], ["c"]]),
        ({"a": ["a"], "b": ["a"]}, [["a"], ["b"]]),
    ],
)
def test_hosts_that_others_name_come_first(
    tmp_path: Path, hosts: dict[str, list[str]], wanted: list[list[str]]
) -> None:
    lines = [f"    {name}: {{provision_roles: [chat], chat: {{uses: {uses}}}}}" for name, uses in hosts.items()]
    known = fleet(tmp_path, "all:\n  hosts:\n" + "\n".join(lines))
    found = waves(known, known.match("all"))
    assert [[host.name for host in wave] for wave in found] == wanted


def test_only_the_chosen_hosts_are_ordered(tmp_path: Path) -> None:
    known = fleet(tmp_path, "all:\n  hosts:\n    a: {provision_roles: [chat], chat: {uses: [b]}}\n    b:\n")
    assert [[host.name for host in wave] for wave in waves(known, known.match("a"))] == [["a"]]


def test_hosts_bring_all_whose_services_they_use(tmp_path: Path) -> None:
    names = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}
    text = "".join(f"    {host}: {{provision_roles: [chat], chat: {{uses: {uses}}}}}\n" for host, uses in names.items())
    read = fleet(tmp_path, f"all:\n  hosts:\n{text}")
    assert [host.name for host in with_needed(read, read.match("a"))] == ["a", "b", "c"]
    assert [host.name for host in with_needed(read, read.match("c"))] == ["b", "c"]


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ("", [8]),
        ("3", [3, 3, 2]),
        ("1,25%", [1, 2, 2, 2, 1]),
        ("1,3,100%", [1, 3, 4]),
        ("1%", [1] * 8),
    ],
)
def test_batches(tmp_path: Path, sizes: str, wanted: list[int]) -> None:
    known = fleet(tmp_path, "all:\n  hosts: {'h[1:8]': {}}\n")
    found = batches([known.match("all")], [size for size in sizes.split(",") if size])
    assert [len(batch) for batch in found] == wanted
    assert [host.name for batch in found for host in batch] == [f"h{number}" for number in range(1, 9)]


def test_a_batch_never_mixes_hosts_with_those_that_name_them(tmp_path: Path) -> None:
    known = fleet(tmp_path, "all:\n  hosts: {'h[1:3]': {}}\n")
    one, *rest = known.match("all")
    assert [[host.name for host in batch] for batch in batches([[one], rest], ["5"])] == [["h1"], ["h2", "h3"]]


@pytest.mark.parametrize("size", ["0", "x", "-1", "0%", "%", "1.5"])
def test_a_batch_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match="not a number of hosts"):
        batches([], [size])
