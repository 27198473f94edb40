"""Runs that change something: the small part for the first time, and one template everywhere."""

from collections.abc import Iterator

from tests.bench.bench import Bench
from tests.bench.cost import Spent, say, spend
from tests.bench.nochange import hosts
from tests.bench.table import Row, rows


def first(bench: Bench) -> Iterator[Row]:
    """16 small things on a host that has none of them."""
    desk = bench.desk(1)
    spent: dict[str, list[Spent]] = {}
    say("first install of the small part")
    for name, command in desk.tools("small").items():
        desk.forget()
        done = spend(command, None)
        assert command.changes(done.out) > 0, f"{name} changed nothing"
        spent[name] = [done]
    yield from rows("first install of 16 small files, 1 host", spent)


def template(bench: Bench) -> Iterator[Row]:
    """One word of one template is another: one change for each host, found by the whole run."""
    count = min(10, max(bench.counts))
    desk = bench.desk(count)
    spent: dict[str, list[Spent]] = {}
    say(f"one changed template, {count} hosts")
    for name in desk.tools():
        desk.greet(f"Welcome of {name}")
        spent[name] = [spend(desk.tools()[name], count)]
    yield from rows(f"one changed template, {hosts(count)}", spent)
