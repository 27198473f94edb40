"""The program as a user runs it, against one host."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli import Office
from tests.lab.counted import Cost, counted
from tests.lab.hosts import LabHost
from tests.lab.line import lines

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def office(host: LabHost, tmp_path: Path) -> Office:
    made = Office(tmp_path / "office")
    made.add(host, provision_roles=["files"])
    return made


@pytest.fixture
def clean(host: LabHost) -> Iterator[None]:
    yield
    host.check("rm -rf /var/lib/provision /srv/files /run/provision/jobs")


pytestmark = pytest.mark.usefixtures("clean")


def files(**texts: object) -> dict[str, object]:
    return {"files": {f"/srv/files/{name}": text for name, text in texts.items()}}


def test_plan_apply_plan(office: Office, host: LabHost) -> None:
    office.variables["files"] = files(a="one\n", b="two\n")
    planned = office.run("plan", "--diff", "--exit-code")
    assert planned.rc == 2
    assert f"{host.name}: 2 changes, 0 unchanged" in planned.out
    assert "+one" in planned.out
    applied = office.check("apply")
    assert re.search(rf"^{host.name}  2 changed  0 unchanged  \d+\.\d s$", applied, re.MULTILINE)
    assert host.check("cat /srv/files/a /srv/files/b") == "one\ntwo\n"
    again = office.run("plan", "--exit-code")
    assert (again.rc, again.out) == (0, f"{host.name}: nothing to change, 2 resources as declared\n")
    host.check("rm /srv/files/a")
    assert "create  file:/srv/files/a" in office.check("plan")


def test_a_run_that_changes_nothing_uses_one_connection_one_channel_and_two_requests(
    office: Office, host: LabHost
) -> None:
    office.variables["files"] = files(**{f"f{number}": f"{number}\n" for number in range(25)})
    office.check("apply")
    with counted(host) as costs:
        assert "0 changed  25 unchanged" in office.check("apply")
    assert costs[host.name] == Cost(connections=1, channels=1, commands=1, requests=2)


def test_a_run_that_changes_nothing_waits_for_ten_answers_at_most(office: Office, host: LabHost) -> None:
    office.variables["files"] = files(a="one\n", b="two\n")
    office.check("apply")
    # A little distance, so that what both sides say at the same time does not look like an answer.
    with lines([("127.0.0.1", host.port)], 0.05) as [line]:
        office.known_hosts.write_text(host.known_hosts.replace(str(host.port), str(line.port)))
        office.hosts[host.name]["ansible_port"] = line.port
        assert "0 changed  2 unchanged" in office.check("apply")
    # TCP, versions, key exchange, service, key, channel, command, identity, probes; the tenth where paramiko's thread
    # sees the answer to the close before it ends.
    assert line.connections == 1
    assert 9 <= line.round_trips <= 10


def test_json_is_a_stream_of_events_and_so_is_the_log(office: Office, host: LabHost) -> None:
    office.variables["files"] = files(a="one\n")
    events = office.events("apply")
    assert [event["event"] for event in events] == [
        "run-started",
        "host-started",
        "host-planned",
        "change-started",
        "change-finished",
        "host-finished",
        "run-finished",
    ]
    assert events[-2]["status"] == "changed"
    assert events[-1]["exit_code"] == 0
    logged = [json.loads(line) for line in office.logs().splitlines()]
    assert [event["event"] for event in logged] == [event["event"] for event in events]


def test_no_secret_in_any_output_or_file(office: Office, host: LabHost) -> None:
    office.environ["TOKEN"] = SECRET
    office.variables["files"] = files(token={"secret": "env:TOKEN"}, a="one\n")
    texts = [office.check("plan", "--diff", "-v", "-o", "plan.json"), office.check("plan", "--json")]
    texts += [office.check("apply", "--diff", "-v"), office.logs(), (office.folder / "plan.json").read_text()]
    assert host.check("cat /srv/files/token") == SECRET
    host.check("echo other >/srv/files/token")
    texts.append(office.check("plan", "--diff", "-v"))
    texts.append(host.check("cat /var/lib/provision/state.json; ls -R /run/provision"))
    assert not [text for text in texts if SECRET in text]


def test_a_plan_file_is_applied_once_and_refused_when_anything_differs(office: Office, host: LabHost) -> None:
    office.variables["files"] = files(a="one\n", b="two\n")
    office.check("plan", "-o", "plan.json")
    host.check("mkdir -p /srv/files && printf 'two\\n' >/srv/files/b")
    refused = office.run("apply", "plan.json")
    assert refused.rc == 1
    assert "not the plan of the file" in refused.out
    assert host.exec("cat /srv/files/a").rc
    host.check("rm -r /srv/files")
    assert "2 changed" in office.check("apply", "plan.json")
    office.variables["files"] = files(a="other\n", b="two\n")
    other = office.run("apply", "plan.json")
    assert (other.rc, other.err) == (3, "since this plan was made, inventory changed; make a new plan\n")


def test_what_is_no_longer_declared_is_listed_and_left(office: Office, host: LabHost) -> None:
    office.variables["files"] = files(a="one\n", b="two\n")
    office.check("apply")
    office.variables["files"] = files(a="one\n")
    text = office.check("plan")
    assert "no longer declared, left as it is:\n    file:/srv/files/b" in text
    assert "0 changed  1 unchanged" in office.check("apply")
    assert host.check("cat /srv/files/b") == "two\n"


def test_a_peer_without_a_declared_address_is_asked_for_its_own(office: Office, host: LabHost) -> None:
    role = office.folder / "roles" / "peers.py"
    role.write_text(
        "from pydantic import BaseModel\n"
        "from provision.resources.file import File\n"
        "from provision.fields import HostOrGroup\n\n\n"
        "class Settings(BaseModel):\n    of: list[HostOrGroup] = []\n\n\n"
        "def declare(host, want):\n"
        "    text = ' '.join(f'{p.name}={p.address}' for name in want.of for p in host.peers(name))\n"
        "    yield File('/srv/files/peers', text)\n"
    )
    office.hosts[host.name] |= {"provision_roles": ["peers"], "peers": {"of": ["all"]}}
    office.check("apply")
    assert host.check("cat /srv/files/peers") == f"{host.name}={host.address}"


def test_a_mistake_in_a_resource_of_the_fleet_fails_its_host_and_no_other(office: Office, host: LabHost) -> None:
    role = office.folder / "roles" / "broken.py"
    role.write_text(
        "from pydantic import BaseModel\n"
        "from provision import Change\n\n\n"
        "class Settings(BaseModel):\n    pass\n\n\n"
        "class Broken:\n"
        "    id = 'broken:one'\n"
        "    def probe(self): return 'echo hello'\n"
        "    def observe(self, section): return section.text.split()\n"
        "    def plan(self, observed, pending): return Change(self.id, self.verb, observed[0])\n"
        "    def steps(self, change): yield from ()\n\n\n"
        "def declare(host, want):\n    yield Broken()\n"
    )
    # The same machine by another name, whose run ends before it would need the lock.
    office.add(host, "wrong", provision_roles=["broken"])
    office.variables["files"] = files(a="one\n")
    ended = office.run("apply")
    assert ended.rc == 3
    mistake = f"wrong: role broken: broken:one: {role}:13:1: AttributeError: 'Broken' object has no attribute 'verb'"
    assert mistake in (ended.out + ended.err).splitlines()
    assert "Traceback" not in ended.err
    assert re.search(rf"^{host.name}  1 changed", ended.out, re.MULTILINE)
    assert host.check("cat /srv/files/a") == "one\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["apply", "nobody"], 3, "there is no host or group 'nobody'"),
        (["apply", "--roles", "fils"], 3, "did you mean 'files'?"),
        (["apply", "--batch", "x"], 3, "--batch: 'x' is not a number of hosts"),
        (["apply", "--forks", "0"], 3, "--forks"),
        (["apply", "--bogus"], 3, "No such option"),
        (["apply", "-k"], 3, "no password was typed"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(office: Office, words: list[str], code: int, says: str) -> None:
    result = office.run(*words)
    assert result.rc == code
    assert says in result.err
    assert "Traceback" not in result.err
    assert "Warning" not in result.err
