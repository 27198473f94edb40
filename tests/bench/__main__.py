"""`make bench`: what a run that changes nothing costs, beside a bare login, on a host of the lab."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import images
from tests.lab.cli import ROOT, Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import prepare

RUNS = 7
FILES = 25


def main() -> int:
    """Print a Markdown table, and write `build/bench.json`."""
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        host = LabHost.start()
        try:
            rows = measured(host, Path(folder))
        finally:
            host.remove()
    least = rows["ssh host true"]
    print(f"| {FILES} files, nothing to change, {RUNS} runs | best s | median s | x login |\n|---|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {min(seconds):.2f} | {statistics.median(seconds):.2f} | {min(seconds) / min(least):.1f} |")
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measured(host: LabHost, folder: Path) -> dict[str, list[float]]:
    """Name -> seconds of each run, of whole processes."""
    office = Office(folder)
    files = {f"/etc/office/{number}.conf": f"number {number}\n" for number in range(FILES)}
    office.add(host, "gpu01", provision_roles=["files"], files={"files": files})
    host.check("mkdir -p /etc/office")
    office.check("apply")
    known = f"UserKnownHostsFile={office.known_hosts}"
    ssh = ["ssh", "-F", "none", "-i", str(images.key()), "-o", known, "-p", str(host.port), "admin@127.0.0.1", "true"]
    return {
        "ssh host true": timed(ssh, office),
        "python -c 'import paramiko'": timed([sys.executable, "-c", "import paramiko"], office),
        "provision plan": timed(office.command("plan"), office),
        "provision apply": timed(office.command("apply"), office),
    }


def timed(command: Sequence[str], office: Office) -> list[float]:
    """Seconds of each run; a failure ends the whole."""
    seconds = []
    for _ in range(RUNS):
        began = time.monotonic()
        subprocess.run(command, cwd=office.folder, env=office.environment(), capture_output=True, check=True)
        seconds.append(time.monotonic() - began)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
