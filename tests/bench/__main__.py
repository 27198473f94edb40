"""`make bench`: our runs beside the floor and beside the tools that people would use instead.

python -m tests.bench [PART...] [--hosts 1,10] [--distances 20,100] [--runs 5]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench import changing, counting, demanded, nochange, probing, profiling, starting, table
from tests.bench.bench import Bench
from tests.bench.cost import compile_ours
from tests.bench.stage import Stage, stage
from tests.bench.tools import Peers
from tests.lab.cli import ROOT
from tests.lab.prepare import prepare

PARTS: dict[str, Callable[[Bench], Iterator[table.Row]]] = {
    "starting": starting.measure,
    "nochange": nochange.measure,
    "far": nochange.far,
    "counting": counting.measure,
    "first": changing.first,
    "template": changing.template,
    "demanded": demanded.measure,
    "probe": probing.measure,
    "profile": profiling.measure,
}


def main() -> int:
    """Print the table, and write `build/bench.json`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default", metavar="PART")
    parser.add_argument("--hosts", default="1,10", help="numbers of hosts (50 too, where there is memory)")
    parser.add_argument("--distances", default="20,100", help="round-trip times in ms")
    parser.add_argument("--runs", type=int, default=5, help="of quick tools; slow ones run less often")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: one of {', '.join(PARTS)}")
    counts = [int(word) for word in chosen.hosts.split(",")]
    lab, peers = prepare(), Peers.installed()
    compile_ours(ROOT)
    found: list[table.Row] = []
    about = {"before": table.machine(), "versions": peers.versions()}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        distances = [int(word) for word in chosen.distances.split(",")]

        def staging() -> Stage:
            return stack.enter_context(stage(lab, Path(name) / "stage", max(counts)))

        bench = Bench(Path(name), peers, lab, staging, counts, distances, chosen.runs)
        for part in chosen.parts or PARTS:
            for row in PARTS[part](bench):
                found.append(row)
                # What was measured is kept, whatever comes after.
                table.write(ROOT / "build" / "bench.json", found, about | {"after": table.machine()})
    print(table.markdown(found))
    print(f"\n{about['before']} {about['versions']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
