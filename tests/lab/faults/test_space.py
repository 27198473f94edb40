"""A full disk, a read-only one, an apt lock that is held: a clear line, nothing half-written, and then it converges."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.wait import until


@pytest.fixture
def small(host: LabHost) -> Iterator[str]:
    """A file system of 256 KiB."""
    host.check("mkdir -p /srv/files && mount -t tmpfs -o size=256k,mode=0755 none /srv/files")
    yield "/srv/files"
    host.check("umount /srv/files")


@pytest.mark.parametrize("size", [1 << 19, 60_000 * 6])
def test_on_a_full_disk_the_old_file_stays_and_nothing_else(
    office: Office, host: LabHost, small: str, size: int
) -> None:
    host.check(f"echo old >{small}/a")
    office.variables["files"] = {"files": {f"{small}/a": "x" * size}}
    result = office.run("apply")
    assert result.rc == 1
    assert re.search(rf"^{host.name}: file:{small}/a: .*[Nn]o space left", result.out, re.MULTILINE)
    assert host.check(f"ls -A {small}; cat {small}/a") == "a\nold\n"
    host.check(f"mount -o remount,size=4m {small}")
    assert "1 changed" in office.check("apply")
    assert len(host.check(f"cat {small}/a")) == size


def test_a_read_only_disk(office: Office, host: LabHost, small: str) -> None:
    host.check(f"mount -o remount,ro {small}")
    office.variables["files"] = {"files": {f"{small}/a": "x"}}
    result = office.run("apply")
    assert result.rc == 1
    assert re.search(rf"^{host.name}: file:{small}/a: .*[Rr]ead-only", result.out, re.MULTILINE)


def test_an_apt_lock_that_is_held_is_waited_for_and_its_holder_named(office: Office, host: LabHost) -> None:
    office.hosts[host.name]["provision_roles"] = ["base"]
    office.variables["base"] = {"packages": ["jq"], "time": False}
    holder = (
        "exec perl -MFcntl -e '"
        'open(F, ">>", "/var/lib/dpkg/lock-frontend"); '
        '$lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0); '
        'fcntl(F, F_SETLK, $lock) or die; open(G, ">/run/held"); '
        'sleep 1 while !-e "/run/let-go"\''
    )
    held = subprocess.Popen(["docker", "exec", host.name, "sh", "-c", holder])
    until(lambda: host.exec("ls /run/held").rc == 0, "the lock")
    process = office.start("apply", "--json")
    assert process.stdout
    try:
        line = next(line for line in process.stdout if "Waiting for cache lock" in line)
    finally:
        host.check("touch /run/let-go")
    assert re.search(r"held by process \d+ \(perl\)", line)
    process.communicate(timeout=120)
    held.wait(timeout=30)
    assert process.returncode == 0
    assert host.exec("command -v jq").rc == 0
