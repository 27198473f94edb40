"""What a run that changes nothing costs a host, in connections, channels, requests, round trips and bytes: exact."""

from collections.abc import Iterator

from tests.bench.bench import Bench
from tests.bench.cost import say, spend
from tests.bench.table import Row
from tests.lab.counted import counted
from tests.lab.line import lines


def measure(bench: Bench) -> Iterator[Row]:
    """One run of each tool, over a line that counts, on a host that counts."""
    host = bench.stage.hosts[0]
    say("counts")
    for name in ("ssh host true", "floor", *bench.desk(1).tools()):
        # A little distance, so that what is said at the same time does not look like an answer.
        with lines([("127.0.0.1", host.port)], 0.01) as [line]:
            desk = bench.desk(1, [line.port])
            command = {"ssh host true": desk.login(), "floor": desk.floor(), **desk.tools()}[name]
            before = (line.connections, line.round_trips, line.sent, line.received)
            with counted(host) as costs:
                spend(command)
            cost = costs[host.name]
            after = (line.connections, line.round_trips, line.sent, line.received)
        _, trips, sent, received = (now - then for now, then in zip(after, before, strict=True))
        data = vars(cost) | {"round_trips": trips, "sent": sent, "received": received}
        yield Row("nothing to change, 1 host", name, data)
