"""Runs the program as `python -m provision` does, then says what it left: `python -m tests.lab.observed_run WORDS`.

The last line is JSON: exit code, threads and open files before and after, peak memory (bytes), CPU (s).
"""

import json
import resource
import sys
import threading
from pathlib import Path

from tests.lab.wait import until


def main() -> None:
    """Run and tell."""
    before = _held()
    from provision.cli import run

    code = run(sys.argv[1:])
    try:
        # paramiko's threads end when their sockets say so, a moment later
        until(lambda: _held()[0] <= before[0], "threads", 5)
    except TimeoutError:
        print([thread.name for thread in threading.enumerate()], file=sys.stderr)
    used = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime + children.ru_utime + children.ru_stime
    found = {"code": code, "before": before, "after": _held(), "memory": _peak(), "cpu": cpu}
    print(json.dumps(found))


def _held() -> tuple[int, int]:
    """Threads and open files."""
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())) - 1


def _peak() -> int:
    """Bytes. `ru_maxrss` would begin with the peak of the process that forked this one (Linux: exec_mmap)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    main()
