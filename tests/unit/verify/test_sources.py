"""Questions that share their sources: each gets what is its own, and one process tells of all."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.engine.script import probes
from provision.resources.base import Section
from provision.resources.container import Container
from provision.resources.docker_cli import SOCKET, Found, Inspect, found
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.resources.service import Service
from provision.resources.volume import Volume
from provision.verify.checks.devices import Devices
from provision.verify.checks.docker import Containers, ContainerSettings, DockerDaemon, Volumes
from provision.verify.checks.ollama import Models, NoCloud, Version
from provision.verify.checks.reach import question
from provision.verify.checks.secrets import ContainerSecrets
from provision.verify.checks.services import ServiceRuns
from provision.verify.checks.sources import Asked, Page, Told

SYSTEMCTL = """\
echo "systemctl $*" >>{log}
printf 'MainPID=%s\\nActiveState=active\\nFragmentPath=/a.service\\nDropInPaths=/d/1.conf /d/2.conf\\n' "$$"
printf 'ExecMainStartTimestampMonotonic=5\\n\\nMainPID=0\\nActiveState=inactive\\nFragmentPath=\\n'
"""
# The arguments come in pairs: `-o FILE URL`.
CURL = """\
echo curl >>{log}
while [ $# -gt 0 ]; do
    case $1 in -o) echo "{{\\"url\\":\\"$3\\"}}" >"$2"; shift 3 ;; *) shift ;; esac
done
"""
DEAD_CURL = "echo 'curl: (7) refused' >&2\nexit 7\n"
DOCKER = 'echo "docker $*" >>{log}\necho \'container {{"Name":"/a"}}\'\n'
SHELL_NEEDS = ("sh", "mktemp", "mkdir", "rm", "cat", "wc", "timeout")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def ask(log: Path, programs: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, Section]:
    """Run these questions with these programs and no others."""
    folder = log.parent / "bin"
    folder.mkdir()
    for name in SHELL_NEEDS:
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, text in programs.items():
        (folder / name).write_text("#!/bin/sh\n" + text.format(log=log))
        (folder / name).chmod(0o755)
    script = probes(asked)
    # The script would look in the usual places too; and no engine need be here.
    text = re.sub(r"(?m)^PATH=.*\n", "", script.text).replace('[ ! -S "$s" ] ||', "").replace(f"[ -S {SOCKET} ] &&", "")
    ended = subprocess.run([folder / "sh", "-c", text], env={"PATH": str(folder)}, capture_output=True, check=True)
    return script.parse(ended.stdout)


def test_units_are_told_by_one_systemctl_and_each_question_gets_its_own(log: Path) -> None:
    show = 'echo "$p" "$started" "$files"\nprintf "%s" "$told"\n'
    asked = {name: Asked(f"unit {name}.service\n{show}", [f"{name}.service"]) for name in ("a", "b")}
    found = ask(log, {"systemctl": SYSTEMCTL}, asked | {"again": asked["a"]})
    first, *told = found["a"].lines
    assert first.split()[1:] == ["5", "/a.service", "/d/1.conf", "/d/2.conf"]
    assert int(first.split()[0]) > 1
    assert "ActiveState=active" in told
    assert found["again"] == found["a"]
    assert found["b"].lines == ["0 0 ", "MainPID=0", "ActiveState=inactive", "FragmentPath="]
    assert [line.partition(" -- ")[2] for line in log.read_text().splitlines()] == ["a.service b.service"]


def test_a_question_works_alone(log: Path) -> None:
    found = ask(log, {"systemctl": SYSTEMCTL}, {"a": str(Asked('unit a\necho "$started"\n', ["a"]))})
    assert found["a"].text == "5\n"


def test_pages_and_docker_are_told_by_one_curl_each(log: Path) -> None:
    container, image = Told("container", "a"), Told("image", "r.lan/i:1")
    tags, version = Page("http://h/tags"), Page("http://h/version")
    asked = {
        "containers": Asked(f"{container.call}\n", answers=[container]),
        "settings": Asked(f"{container.call}\n{image.call}\n", answers=[container, image]),
        "tags": Asked(tags.call, answers=[tags]),
        "both": Asked(f"{version.call}\n{tags.call}", answers=[version, tags]),
    }
    found = ask(log, {"curl": CURL}, asked)
    assert {name: section.rc for name, section in found.items()} == dict.fromkeys(asked, 0)
    assert found["settings"].lines == [
        'container {"url":"http://localhost/containers/a/json"}',
        'image {"url":"http://localhost/images/r.lan/i:1/json"}',
    ]
    assert found["containers"].lines == found["settings"].lines[:1]
    assert found["both"].lines == ['{"url":"http://h/version"}', '{"url":"http://h/tags"}']
    assert found["tags"].lines == found["both"].lines[1:]
    assert log.read_text() == "curl\ncurl\n"


def test_a_server_that_does_not_answer_is_told_with_curls_complaint(log: Path) -> None:
    page = Page("http://h/tags")
    found = ask(log, {"curl": DEAD_CURL}, {"a": Asked(page.call, answers=[page])})
    assert found["a"] == Section(7, b"", b"curl: (7) refused\n")


@pytest.mark.parametrize("curl", [{}, {"curl": DEAD_CURL}])
def test_docker_itself_answers_where_curl_has_no_answer(log: Path, curl: Mapping[str, str]) -> None:
    told = Told("container", "a")
    found = ask(log, {"docker": DOCKER, **curl}, {"a": Asked(told.call, answers=[told])})
    assert found["a"] == Section(0, b'container {"Name":"/a"}\n')
    assert log.read_text() == "docker container inspect --format container {{json .}} a\n"


def test_a_host_without_docker_says_so(log: Path) -> None:
    told = Told("info")
    found = ask(log, {}, {"a": Asked(told.call, answers=[told])})
    assert (found["a"].rc, found["a"].err) == (3, b"docker is not installed\n")


def test_an_engine_that_hangs_is_waited_for_once(log: Path) -> None:
    told = Told("info"), Told("container", "a")
    asked = {one.kind: Asked(one.call, answers=[one]) for one in told}
    found = ask(log, {"docker": DOCKER + "exit 124\n"}, asked)
    assert (found["info"].rc, found["container"].rc) == (124, 1)
    assert log.read_text() == "docker info --format info {{json .}}\n"


def test_an_engine_that_hangs_for_curl_is_not_waited_for_by_docker_too(log: Path) -> None:
    told = Told("info"), Told("container", "a")
    asked = {one.kind: Asked(one.call, answers=[one]) for one in told}
    answers = ask(log, {"docker": DOCKER, "curl": "exit 28\n"}, asked)
    assert {name: answer.rc for name, answer in answers.items()} == {"info": 1, "container": 1}
    assert not log.exists()


@pytest.mark.parametrize(("curl", "calls"), [("exit 28\n", 0), (DEAD_CURL, 1), ("", 1)])
def test_a_probe_waits_once_for_an_engine_that_hangs_and_says_so(log: Path, curl: str, calls: int) -> None:
    asked = {name: Inspect(("container", (name,))) for name in ("a", "b")}
    hanging = 'echo "docker $*" >>{log}\nexit 124\n'
    answers = ask(log, {"docker": hanging} | ({"curl": curl} if curl else {}), asked)
    for answer in answers.values():
        assert found(answer) == Found((), "the Docker engine does not answer")
    assert (log.read_text().count("docker") if log.exists() else 0) == calls


ALL = (
    DockerDaemon({"debug": True}),
    Containers(("a",)),
    ContainerSettings((Container("a", "i:1"),)),
    Volumes((Volume("v"),)),
    ContainerSecrets(("correct-horse",)),
    ServiceRuns("a.service", (Service("a"),)),
    Version("1", Server()),
    NoCloud(Server()),
    Models((OllamaModel("tiny"),), Server()),
    Devices(("rocm",)),
)


def test_no_question_spoils_what_those_after_it_need(log: Path) -> None:
    asked = {check.name: check.question() for check in ALL} | {"listening": question()}
    assert {type(one) for one in asked.values()} == {Asked}
    mixed = {
        f"{name}{number}": text for name, one in asked.items() for number, text in enumerate((one, Asked("echo\n")))
    }
    found = ask(log, {"systemctl": SYSTEMCTL, "curl": CURL, "docker": DOCKER}, mixed)
    assert {name for name, one in found.items() if one.rc == 125} == set()
    assert [name for name, one in found.items() if name.endswith("1") and one != Section(0, b"\n")] == []
    assert len(found) == 2 * len(asked)
