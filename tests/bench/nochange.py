"""A run that changes nothing: ours, the others' and the floor, near and far."""

from collections.abc import Iterator

from tests.bench.bench import Bench
from tests.bench.cost import interleaved, say
from tests.bench.table import Row, rows
from tests.lab.line import lines


def measure(bench: Bench) -> Iterator[Row]:
    """One host, then many, at no distance; then one host, and ten, at each distance."""
    for count in bench.counts:
        desk = bench.desk(count)
        commands = {"floor": desk.floor(), **desk.tools()}
        if count == 1:
            commands = {"ssh host true": desk.login(), **commands}
        say(f"nothing to change, {count} hosts")
        yield from rows(f"nothing to change, {hosts(count)}", interleaved(commands, bench.runs(count)))


def far(bench: Bench) -> Iterator[Row]:
    """The same over lines with a round-trip time of their own."""
    for milliseconds in bench.distances:
        say(f"nothing to change, {milliseconds} ms away")
        with lines([("127.0.0.1", bench.stage.hosts[0].port)], milliseconds / 1000) as [line]:
            desk = bench.desk(1, [line.port])
            commands = {"ssh host true": desk.login(), "floor": desk.floor(), **desk.tools()}
            spent = interleaved(commands, bench.runs(1, slow=1))
        yield from rows(f"nothing to change, 1 host {milliseconds} ms away", spent)


def hosts(count: int) -> str:
    """`1 host`, `10 hosts`."""
    return f"{count} host{'' if count == 1 else 's'}"
