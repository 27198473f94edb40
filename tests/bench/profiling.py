"""Where the time of a run goes that changes nothing: pyinstrument's samples of the main thread, by package."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.bench import Bench
from tests.bench.cost import say, spend
from tests.bench.table import Row
from tests.lab.cli import ROOT

SAMPLES = ROOT / "build" / "profile.pyisession"
WAITING = "waiting for the host"
_INTERVAL = "0.0005"


def measure(bench: Bench) -> Iterator[Row]:
    """Seconds by package, and `build/profile.html` to look into."""
    say("profile of a run that changes nothing")
    SAMPLES.parent.mkdir(exist_ok=True)
    command = bench.desk(1).provision()
    spend(command)
    program, *words = command.words
    profiler = (program, "-m", "pyinstrument", "-i", _INTERVAL, "-r", "pyisession", "-o", str(SAMPLES))
    subprocess.run(
        (*profiler, *words), cwd=command.folder, env=dict(command.environ), check=True, stdout=subprocess.DEVNULL
    )
    _rendered(program, "html")
    frames = json.loads(_rendered(program, "json").read_text())["root_frame"]
    seconds: defaultdict[str, float] = defaultdict(float)
    for package, spent in _spent(frames, "python"):
        seconds[package] += spent
    whole = sum(seconds.values())
    for package, spent in sorted(seconds.items(), key=lambda item: -item[1])[:12]:
        yield Row(
            "a run that changes nothing, one host",
            package,
            {"spent": round(spent, 3), "share": round(spent / whole, 3)},
        )


def _rendered(program: str, renderer: str) -> Path:
    file = SAMPLES.with_suffix(f".{renderer}")
    words = (program, "-m", "pyinstrument", "--load", str(SAMPLES), "-r", renderer, "-o", str(file))
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return file


def _spent(frame: dict[str, Any], caller: str) -> Iterator[tuple[str, float]]:
    """(package, seconds) of a frame and those below. The standard library works for who calls it."""
    package = _package(Path(frame["file_path"] or ""), caller)
    if package == "provision" and frame["function"] == "each":
        yield WAITING, frame["time"]
        return
    below = frame["children"]
    yield package, max(0.0, frame["time"] - sum(child["time"] for child in below))
    for child in below:
        yield from _spent(child, package)


def _package(file: Path, caller: str) -> str:
    """`click`, `provision`, `roles`, ...: whose file it is."""
    if "site-packages" in file.parts:
        return file.parts[file.parts.index("site-packages") + 1].removesuffix(".py")
    return file.relative_to(ROOT).parts[0] if file.is_relative_to(ROOT) else caller
