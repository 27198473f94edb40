"""Figures that are demanded of `verify` and of twins, a function each; the best of several values counts."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.resources.model_store import DEFAULT_SERVER
from provision.verify.checks.generation import Generation
from tests.bench.bench import Bench
from tests.bench.table import OURS, Row
from tests.lab.machine import client
from tests.lab.twins import THREE, Fleet, fleet_of

MODELS = ("tiny", "assistant")


def measure(bench: Bench) -> Iterator[Row]:
    """All of them."""
    for figure in (verify_alone, verify_together, twin_up, twin_memory):
        yield figure(bench)


def verify_alone(bench: Bench) -> Row:
    """`verify` of one server, less what the generations of its models cost."""
    (name,), (host, *_) = bench.stage.names(1), bench.stage.hosts
    questions = "\n".join(Generation(model, DEFAULT_SERVER).question() for model in MODELS)
    generations = timed(["docker", "exec", host.name, "sh", "-c", questions], bench.repeat)
    values = [seconds - min(generations) for seconds in verified(bench, name)]
    return row("verify of one server, beyond its generations", values, "s", 2)


def verify_together(bench: Bench) -> Row:
    """`verify` of all servers at once beside that of one, beyond their generations.

    All servers are on this machine: what their generations cost at once is how their threads wait for its cores.
    """
    (name,), variables = bench.stage.names(1), bench.stage.office.variables
    roles = variables["provision_roles"]
    variables["provision_roles"] = [role for role in roles if role != "models"]
    try:
        one = min(verified(bench, name))
        values = [seconds / one for seconds in verified(bench, "all")]
    finally:
        variables["provision_roles"] = roles
    return row(f"verify of {len(bench.stage.hosts)} servers at once, beside one, beyond generations", values, "x", 3)


def twin_up(bench: Bench) -> Row:
    """`twin up` of three hosts until each of them answers by SSH; the image is there."""
    with a_twin(bench.folder / "twin", THREE) as fleet:
        seconds: list[float] = []
        for _ in range(3):
            fleet.check("twin", "down")
            seconds += timed(fleet.command("twin", "up"), 1, env=fleet.environment())
    return row("twin up of three hosts", seconds, "s", 10)


def twin_memory(bench: Bench) -> Row:
    """Memory of a twin's host that does nothing, as `docker stats` counts it: without what the kernel may drop."""
    with a_twin(bench.folder / "idle", {"all": {"hosts": {"a": {}}}}) as fleet:
        fleet.run("twin", "ssh", "a", "--", "sudo", "systemctl", "is-system-running", "--wait")
        # The type of `stats` is that of a stream too.
        ask: Callable[..., Any] = client().containers.get(fleet.containers()["a"]).stats
        values = [used(ask(stream=False)["memory_stats"]) for _ in range(3)]
    return row("memory of a twin's idle host", values, "MiB", 60)


def used(memory: Mapping[str, Any]) -> float:
    """MiB, with cgroups of both versions."""
    kinds: Mapping[str, int] = memory["stats"]
    return float(memory["usage"] - kinds.get("total_inactive_file", kinds.get("inactive_file", 0))) / (1 << 20)


def row(work: str, values: Sequence[float], unit: str, most: float) -> Row:
    """A figure, and how much is allowed."""
    return Row(work, OURS, {"values": list(values), "figure": min(values), "unit": unit, "most": most})


def verified(bench: Bench, pattern: str) -> list[float]:
    """Seconds of `verify`."""
    office = bench.stage.office
    return timed(office.command("verify", pattern), bench.repeat, office.folder, office.environment())


def timed(
    command: Sequence[str], runs: int, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> list[float]:
    """Seconds of each run; a failure ends the whole, with what was printed."""
    seconds = []
    for _ in range(runs):
        began = time.monotonic()
        ended = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        seconds.append(time.monotonic() - began)
        assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return seconds


@contextmanager
def a_twin(folder: Path, inventory: object) -> Iterator[Fleet]:
    """A twin that runs; it is removed at the end."""
    folder.mkdir()
    with fleet_of(inventory, folder) as fleet:
        fleet.check("twin", "up")
        yield fleet
