"""What the two scripts of a run that changes nothing cost a host, in CPU: one server of each family."""

from collections.abc import Iterator

from provision import facts
from tests.bench.bench import Bench
from tests.bench.cost import say
from tests.bench.demanded import row
from tests.bench.table import Row
from tests.bench.tools import script
from tests.lab import images
from tests.lab.cli import Office
from tests.lab.families import office_of
from tests.lab.hosts import LabHost

MOST = 150
"""Milliseconds."""
_TIMES = 20
# POSIX: `times` tells the user and system time of the shell, then of all processes that it waited for. In a pipe it
# would tell those of another shell.
_RUN = f"""\
i=0
while [ $i -lt {_TIMES} ]; do
    sh /root/identity </dev/null >/dev/null && sh /root/probes </dev/null >/dev/null || exit 1
    i=$((i + 1))
done
times >/root/times
tail -n 1 /root/times
"""


def measure(bench: Bench) -> Iterator[Row]:
    """Facts and the probes of all resources, on one server of each family."""
    for suite in (*images.SUITES, *images.FAMILIES):
        say(f"probes on {suite}")
        host = LabHost.start(suite)
        try:
            office = office_of(bench.folder / f"probing-{suite}", bench.lab, host, suite)
            office.check("apply", timeout=900)
            values = spent(host, office, bench.repeat)
        finally:
            host.remove()
        yield row(f"CPU of facts and probes on {suite}", values, "ms", MOST)


def spent(host: LabHost, office: Office, repeat: int) -> list[float]:
    """Milliseconds of CPU of both scripts and all their processes, without the daemons that they ask."""
    host.put("/root/identity", facts.script(readings=False).encode())
    host.put("/root/probes", script(office.write(), next(iter(office.hosts))).encode())
    return [milliseconds(host.check(f"sh -c '{_RUN}'")) / _TIMES for _ in range(repeat)]


def milliseconds(told: str) -> float:
    """Of `0m1.234s 0m0.567s`, the sum."""
    pairs = (word.removesuffix("s").partition("m") for word in told.split())
    return sum(60_000 * int(minutes) + 1000 * float(seconds) for minutes, _, seconds in pairs)
