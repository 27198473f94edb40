"""What was measured, as rows of one table and as JSON."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cost import Spent, as_data, best

OURS = "provision"


@dataclass(frozen=True)
class Row:
    """One tool at one work.

    Args:
        work: what was done.
        tool: by which.
        data: name -> figure, for the JSON.
        times: how many times ours it took; None where that says nothing.
    """

    work: str
    tool: str
    data: Mapping[str, Any]
    times: float | None = None


def rows(work: str, spent: Mapping[str, Sequence[Spent]]) -> list[Row]:
    """All tools at one work."""
    ours = best(spent[OURS]) if spent.get(OURS) else None
    return [
        Row(work, tool, as_data(runs), best(runs) / ours if ours and tool != OURS else None)
        for tool, runs in spent.items()
        if runs
    ]


def markdown(found: Iterable[Row]) -> str:
    """The table: ratios first."""
    lines = ["| work | tool | x ours | best s | median s | CPU s | MiB | runs |", "|---|---|---|---|---|---|---|---|"]
    counted = ["| work | tool | connections | channels | commands | requests | round trips | kB sent | kB received |"]
    counted.append("|---|---|---|---|---|---|---|---|---|")
    limited = ["| figure | best | at most | kept |", "|---|---|---|---|"]
    shared = ["| profile of | package | s | share |", "|---|---|---|---|"]
    for row in found:
        data = row.data
        if "most" in data:
            kept = "yes" if data["figure"] <= data["most"] else "NO"
            unit = data["unit"]
            limited.append(f"| {row.work} | {data['figure']:.2f} {unit} | {data['most']:g} {unit} | {kept} |")
        elif "share" in data:
            shared.append(f"| {row.work} | {row.tool} | {data['spent']:.3f} | {data['share']:.0%} |")
        elif "seconds" in data:
            times = "" if row.times is None else f"**{row.times:.3g}**"
            figures = f"{data['best']:.2f} | {data['median']:.2f} | {data['cpu']:.2f} | {data['memory'] >> 20}"
            lines.append(f"| {row.work} | {row.tool} | {times} | {figures} | {len(data['seconds'])} |")
        else:
            figures = " | ".join(str(data.get(key, "")) for key in COUNTS)
            sizes = f"{data['sent'] / 1000:.1f} | {data['received'] / 1000:.1f}"
            counted.append(f"| {row.work} | {row.tool} | {figures} | {sizes} |")
    tables = [table for table in (lines, counted, limited, shared) if len(table) > 2]
    return "\n\n".join("\n".join(table) for table in tables)


COUNTS = ("connections", "channels", "commands", "requests", "round_trips")


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def write(path: Path, found: Sequence[Row], about: Mapping[str, Any]) -> None:
    """The JSON: what the table says and the machine."""
    path.parent.mkdir(exist_ok=True)
    data = [{"work": row.work, "tool": row.tool, "times": row.times} | dict(row.data) for row in found]
    path.write_text(json.dumps(dict(about) | {"rows": data}, indent=1) + "\n")
