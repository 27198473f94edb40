"""The program at a terminal and in a pipe: passwords are asked for, bytes have a bar, a failure stops its host only."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.images import SUDO_PASSWORD
from tests.lab.terminal import Terminal

BIG_ROLE = '''
from dataclasses import dataclass

from pydantic import BaseModel

from provision.resources.base import Change, Upload

SIZE = 64 << 20


class Settings(BaseModel):
    pass


@dataclass(frozen=True)
class Big:
    """A file that takes a while."""

    id = "big:/srv/big"

    def probe(self):
        return "[ -e /srv/big ]\\n"

    def observe(self, section):
        return section.rc == 0

    def plan(self, observed, pending):
        return None if observed else Change(self.id, "create", "not there")

    def steps(self, change):
        yield Upload("/srv/big", bytes(SIZE))


def declare(host, want):
    yield Big()
'''


@pytest.fixture(scope="module")
def pair(hosts: Callable[..., LabHost]) -> tuple[LabHost, LabHost]:
    """Two hosts whose sudo asks; admin has the same password on both, and its key is not used."""
    return hosts(variant="sudo-password"), hosts(variant="sudo-password")


@pytest.fixture
def office(pair: tuple[LabHost, LabHost], tmp_path: Path) -> Office:
    made = Office(tmp_path / "office")
    (made.folder / "roles" / "big.py").write_text(BIG_ROLE)
    del made.variables["ansible_ssh_private_key_file"]
    for name, host in zip(("web01", "web02"), pair, strict=True):
        host.check("rm -rf /var/lib/provision /srv/files /srv/big")
        made.add(host, name, provision_roles=["files"])
    return made


def with_passwords(office: Office) -> None:
    """In the inventory, for tests of something else."""
    office.environ["PASSWORD"] = SUDO_PASSWORD
    secret = {"secret": "env:PASSWORD"}
    office.variables |= {"ansible_password": secret, "ansible_become_password": secret}


def test_passwords_are_asked_for_once_for_all_hosts_and_not_shown(
    office: Office, pair: tuple[LabHost, LabHost]
) -> None:
    office.variables["files"] = {"files": {"/srv/files/a": "one\n"}}
    with Terminal(office, "apply", "-k", "-K") as terminal:
        terminal.until("SSH password: ")
        terminal.type(SUDO_PASSWORD)
        terminal.until("Become password (empty: the SSH password): ")
        terminal.type("")
        assert terminal.end() == 0
    assert len(re.findall("password", terminal.text)) == 3
    assert sorted(re.findall(r"(web\d+)  1 changed  0 unchanged", terminal.text)) == ["web01", "web02"]
    assert SUDO_PASSWORD not in terminal.text + office.logs()
    assert [host.check("cat /srv/files/a") for host in pair] == ["one\n"] * 2


@pytest.mark.parametrize(
    ("words", "typed", "code", "says"),
    [
        (["-k"], ["mistyped"], 4, "cannot log in as admin at 127.0.0.1:{port}: refused: password; "),
        (["-k", "-K"], [SUDO_PASSWORD, "mistyped"], 1, "cannot become root: sudo refused the password; is it that of"),
    ],
)
def test_a_mistyped_password_is_one_line_a_host(
    office: Office, pair: tuple[LabHost, LabHost], words: list[str], typed: list[str], code: int, says: str
) -> None:
    with Terminal(office, "plan", *words) as terminal:
        for prompt, password in zip(("SSH password: ", "Become password"), typed, strict=False):
            terminal.until(prompt)
            terminal.type(password)
        assert terminal.end() == code
    lines = [line.strip() for line in terminal.text.splitlines()]
    for name, host in zip(("web01", "web02"), pair, strict=True):
        (line,) = [line for line in lines if f"{name}: " in line]
        assert says.format(port=host.port) in line
    assert "mistyped" not in terminal.text
    assert "Traceback" not in terminal.text


def test_a_terminal_shows_a_bar_with_bytes_and_a_pipe_plain_lines(office: Office) -> None:
    with_passwords(office)
    office.hosts["web01"]["provision_roles"] = office.hosts["web02"]["provision_roles"] = ["big"]
    with Terminal(office, "apply", "web01") as terminal:
        assert terminal.end() == 0
    assert re.search(r"big:/srv/big uploading ━[━╸╺ ]+ \d+\.\d MB of 67\.1 MB", terminal.text), terminal.text
    assert "1 changed  0 unchanged" in terminal.text
    piped = office.check("apply", "web02")
    assert re.fullmatch(
        r"web02: create big:/srv/big\n(web02: create big:/srv/big done, \d+\.\d s\n)?"
        r"web02  1 changed  0 unchanged  \d+\.\d s\n",
        piped,
    )


def test_a_failure_stops_its_host_says_what_was_not_begun_and_the_other_host_converges(
    office: Office, pair: tuple[LabHost, LabHost]
) -> None:
    with_passwords(office)
    office.variables["files"] = {"jobs": {f"/srv/files/{name}": f"mkdir -p /srv/files/{name}" for name in "abcd"}}
    office.hosts["web01"]["files"] = {"jobs": {"/srv/files/b": "echo no such luck >&2; exit 1"}}
    failed = office.run("apply")
    assert failed.rc == 1
    told = [line for line in failed.out.splitlines() if line.startswith("web01: ") and "make" not in line]
    assert told == [
        "web01: not begun, as made:/srv/files/b failed: made:/srv/files/c, made:/srv/files/d",
        "web01: made:/srv/files/b: no such luck",
    ]
    assert re.search(r"^web01  failed  1 changed  0 unchanged", failed.out, re.MULTILINE)
    assert re.search(r"^web02  4 changed  0 unchanged", failed.out, re.MULTILINE)
    assert [host.check("ls /srv/files").split() for host in pair] == [["a"], ["a", "b", "c", "d"]]
    del office.hosts["web01"]["files"]
    assert re.search(r"^web01  3 changed  1 unchanged", office.check("apply"), re.MULTILINE)
