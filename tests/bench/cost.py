"""What a whole process costs: seconds, seconds of CPU, memory."""

import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """What one run cost.

    Args:
        seconds: of the clock.
        cpu: seconds of CPU, of the process and all that it waited for.
        memory: bytes, of the largest of these processes.
        out: what it printed.
    """

    seconds: float
    cpu: float
    memory: int
    out: str = field(default="", repr=False)


@dataclass(frozen=True)
class Command:
    """A command line of a tool.

    Args:
        words: program and arguments.
        folder: in which it runs.
        environ: what is added to the environment.
        changes: reads from what it printed how many things it changed.
    """

    words: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    changes: Callable[[str], int] = field(default=lambda _out: 0)


def compile_ours(root: Path) -> None:
    """Compile our modules, as `pip install` does for every package.

    Where PYTHONDONTWRITEBYTECODE is set, an editable installation would compile all of them at each run.
    """
    for folder in ("provision", "roles"):
        compileall.compile_dir(root / folder, quiet=1)


class BenchError(RuntimeError):
    """A tool did not do what it was asked for: its figures would mean nothing."""


_LAUNCH = """
import os, sys, time
began = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
seconds = time.monotonic() - began
with open(sys.argv[1], "w") as file:
    print(os.waitstatus_to_exitcode(status), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss, file=file)
"""


def spend(command: Command, changes: int | None = 0) -> Spent:
    """Run it to its end.

    Args:
        command: what to run.
        changes: how many it must tell; None: any number.

    Raises:
        BenchError: it failed, or changed more or less than that.
    """
    with tempfile.TemporaryDirectory(prefix="cp") as folder, tempfile.TemporaryFile() as said:
        # A fresh directory: no run may use the connection that another one left open.
        environ = os.environ | {"ANSIBLE_SSH_CONTROL_PATH_DIR": folder} | dict(command.environ)
        note = Path(folder) / "note"
        # A process begins with the peak of the one that forked it: a small one forks it.
        words = (sys.executable, "-S", "-E", "-c", _LAUNCH, str(note), *command.words)
        subprocess.run(
            words, cwd=command.folder, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=True
        )
        code, seconds, cpu, peak = (float(word) for word in note.read_text().split())
        said.seek(0)
        out = said.read().decode("utf-8", "replace")
    if code:
        raise BenchError(f"{' '.join(command.words)[:200]} ended with {code:.0f}:\n{out[-3000:]}")
    if changes is not None and (told := command.changes(out)) != changes:
        raise BenchError(f"{' '.join(command.words)[:200]} changed {told} things, not {changes}:\n{out[-3000:]}")
    return Spent(seconds, cpu, int(peak) << 10, out)


def interleaved(commands: Mapping[str, Command], runs: Mapping[str, int]) -> dict[str, list[Spent]]:
    """Run all of them by turns, so that a busy minute is shared; name -> its runs.

    Args:
        commands: name -> command.
        runs: name -> how often, by the first word of the name; slow tools run less often.
    """
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    left = {name: runs.get(name.partition(" ")[0], runs[""]) for name in commands}
    while any(left.values()):
        for name, command in commands.items():
            if left[name]:
                left[name] -= 1
                spent[name].append(spend(command))
    return spent


def best(spent: Sequence[Spent]) -> float:
    """Seconds of the quickest run: what disturbs a run only makes it longer."""
    return min(one.seconds for one in spent)


def as_data(spent: Sequence[Spent]) -> dict[str, object]:
    """For `build/bench.json`."""
    return {
        "seconds": [round(one.seconds, 3) for one in spent],
        "best": round(best(spent), 3),
        "median": round(statistics.median(one.seconds for one in spent), 3),
        "cpu": round(min(one.cpu for one in spent), 3),
        "memory": max(one.memory for one in spent),
    }


def say(text: str) -> None:
    """One line of progress."""
    print(f"bench: {text} ({time.strftime('%H:%M:%S')})", file=sys.stderr, flush=True)
