"""Hundreds of hosts: what each costs, and that hosts which are none cost the others nothing.

`make bench-scale`: light hosts (sshds with root directories of their own, no systemd, no Docker), small files only.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from provision.twin.server import free_port
from tests.bench import table
from tests.bench.cost import Command, Spent, compile_ours, say, spend
from tests.bench.table import Row
from tests.lab.cli import ROOT, Office
from tests.lab.light import LightHost, light_hosts
from tests.lab.prepare import prepare
from tests.lab.strange import endless, hanging

FORKS = 25
UNREACHABLE = 10


def main() -> int:
    """Print a table, and write `build/bench-scale.json`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale")
    parser.add_argument("--hosts", default="50,500", help="numbers of hosts")
    counts = [1, *(int(word) for word in parser.parse_args().hosts.split(","))]
    prepare()
    compile_ours(ROOT)
    before = table.machine()
    say(f"{max(counts)} light hosts")
    with tempfile.TemporaryDirectory() as folder, light_hosts(max(counts)) as hosts:
        found = list(measure(Path(folder), hosts, counts))
    start = found[0].data["cpu"]
    print("| hosts | ok | seconds | CPU s | CPU ms for each more | MiB | threads left | files left |")
    print("|---|---|---|---|---|---|---|---|")
    for row in found:
        data = row.data
        more = f"{1000 * (data['cpu'] - start) / (data['ok'] - 1):.1f}" if data["ok"] > 1 else ""
        figures = f"{data['seconds']:.1f} | {data['cpu']:.2f} | {more} | {data['memory'] >> 20}"
        print(f"| {row.work} | {data['ok']} | {figures} | {data['threads_left']} | {data['files_left']} |")
    print(f"\n{before} after: {table.machine()['load']}")
    table.write(ROOT / "build" / "bench-scale.json", found, {"before": before, "after": table.machine()})
    return 0


def measure(folder: Path, hosts: list[LightHost], counts: list[int]) -> Iterator[Row]:
    """A run that changes nothing for each number of hosts; then for all with some that are none."""
    office = Office(folder / "office")
    office.variables["provision_roles"] = ["files"]
    office.variables["files"] = {"files": {f"/etc/office/{number}": f"{number}\n" for number in range(12)}}
    office.known_hosts.write_text("".join(host.known_hosts for host in hosts))
    for host in hosts:
        _add(office, host.name, host.port)
    say("first apply")
    office.check("apply", "--forks", str(FORKS), timeout=1800)
    for count in counts:
        say(f"nothing to change, {count} hosts")
        pattern = ",".join(host.name for host in hosts[:count])
        yield _row(f"{count}", _run(office, pattern))
    with ExitStack() as stack:
        _add(office, "silent", stack.enter_context(hanging()))
        _add(office, "noisy", stack.enter_context(endless()))
        for number in range(UNREACHABLE):
            _add(office, f"down{number}", free_port())
        say("with hosts that are none")
        strange = f", with 1 silent, 1 of 1 GB of garbage, {UNREACHABLE} unreachable"
        yield _row(f"{len(hosts)}{strange}", _run(office, "all"))


def _add(office: Office, name: str, port: int) -> None:
    office.hosts[name] = {"ansible_host": "127.0.0.1", "ansible_port": port}


def _run(office: Office, pattern: str) -> tuple[Spent, list[dict[str, Any]]]:
    """What the run cost, and its events, the last of which is what it left."""
    words = ("apply", "-i", str(office.write()), pattern, "--forks", str(FORKS), "--json")
    command = Command((sys.executable, "-m", "tests.lab.observed_run", *words), ROOT, office.environment())
    spent = spend(command)
    return spent, [json.loads(line) for line in spent.out.splitlines() if line.startswith("{")]


def _row(work: str, ran: tuple[Spent, list[dict[str, Any]]]) -> Row:
    spent, (*events, left) = ran
    finished = [event for event in events if event["event"] == "host-finished"]
    data = {
        "seconds": events[-1]["seconds"],
        "ok": sum(event["status"] == "ok" for event in finished),
        "not_ok": [event["error"] for event in finished if event["status"] != "ok"],
        "cpu": left["cpu"],
        "memory": spent.memory,
        "threads_left": left["after"][0] - left["before"][0],
        "files_left": left["after"][1] - left["before"][1],
    }
    return Row(work, "provision", data)


if __name__ == "__main__":
    sys.exit(main())
