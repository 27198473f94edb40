"""Who can get in: what answers is compared with what is declared."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from provision.facts.model import Listener
from provision.resources.base import Section
from provision.verify.checks.reach import (
    HERE,
    Doors,
    Knock,
    judge,
    knock,
    listening,
    parse,
    published,
    question,
    script,
)
from provision.view import OpenPort

GUARDED = OpenPort(11434, ("10.0.0.2", "10.9.0.0/16"), "ollama.allow says who may")
LOOPBACK = OpenPort(11434, (), "ollama.listen is loopback")
CHAT = OpenPort(8080, None, "open_webui.listen is 0.0.0.0")
WEB = Knock("web", "10.0.0.2", 11434, True)
STRANGER = Knock("old", "10.0.0.3", 11434, True)


def doors(*declared: OpenPort, **more: object) -> Doors:
    return Doors("10.0.0.1", declared, **more)  # type: ignore[arg-type]


def shut(one: Knock) -> Knock:
    return Knock(one.source, one.address, one.port, False)


@pytest.mark.parametrize(
    ("declared", "knocks", "cause"),
    [
        ((LOOPBACK,), [shut(WEB)], ""),
        ((LOOPBACK,), [WEB], "10.0.0.1:11434 answers web, although ollama.listen is loopback"),
        ((GUARDED,), [WEB, shut(STRANGER)], ""),
        ((GUARDED,), [WEB, STRANGER], "10.0.0.1:11434 answers old, although ollama.allow says who may"),
        ((GUARDED,), [shut(WEB)], "10.0.0.1:11434 does not answer web, although ollama.allow says who may"),
        ((GUARDED,), [Knock("far", "10.9.3.4", 11434, True)], ""),
        # Nobody knows as whom this machine would be seen, when nothing answers.
        ((GUARDED,), [Knock(HERE, "", 11434, False)], ""),
        ((CHAT,), [Knock(HERE, "10.0.0.9", 8080, True)], ""),
        ((CHAT,), [Knock(HERE, "", 8080, False)], "10.0.0.1:8080 does not answer this machine"),
    ],
)
def test_declared_ports_answer_those_they_are_for(
    declared: tuple[OpenPort, ...], knocks: list[Knock], cause: str
) -> None:
    there = tuple(Listener("0.0.0.0", one.port, "x") for one in declared)
    verdict = judge(doors(*declared, listeners=there), knocks)
    assert verdict.status == ("failed" if cause else "passed"), verdict
    assert verdict.message.startswith(cause)


def test_what_nobody_declared_must_not_answer_whoever_opened_it() -> None:
    seen = doors(listeners=(Listener("0.0.0.0", 9100, "node_exporter"),), published=frozenset({8443}))
    assert seen.ports == (8443, 9100)
    verdict = judge(seen, [Knock(HERE, "10.0.0.9", 9100, True), Knock("web", "10.0.0.2", 8443, True)])
    assert "10.0.0.1:9100 (node_exporter) answers this machine, and nothing declares it" in verdict.message
    assert "10.0.0.1:8443 answers web" in verdict.message


def test_a_service_that_is_down_is_told_by_its_own_check() -> None:
    assert judge(doors(CHAT), [Knock(HERE, "", 8080, False)]).status == "passed"


def test_the_way_in_is_not_declared() -> None:
    seen = doors(listeners=(Listener("0.0.0.0", 2222, "sshd"), Listener("::", 22, "systemd")))
    assert seen.ports == ()
    assert judge(seen, []).status == "passed"
    # Where a role declares it, it is tried; a container that takes it over as well.
    assert doors(replace(CHAT, port=22), listeners=seen.listeners).ports == (22,)
    assert judge(doors(published=frozenset({22})), [Knock("web", "10.0.0.2", 22, True)]).status == "failed"


def test_what_listens_on_loopback_is_not_tried() -> None:
    assert doors(listeners=(Listener("127.0.0.1", 631), Listener("::1", 631))).ports == ()


def test_a_host_that_cannot_be_tried_is_no_silent_pass() -> None:
    assert judge(Doors(""), []).status == "failed"
    assert judge(doors(LOOPBACK), []).status == "skipped"


def test_ports_that_containers_publish() -> None:
    texts = (
        "0.0.0.0:8080->8080/tcp, [::]:8080->8080/tcp",
        "127.0.0.1:9000->9000/tcp",
        "",
        "0.0.0.0:7000-7002->7000-7002/tcp, 0.0.0.0:53->53/udp, 443/tcp",
    )
    lines = "".join(f'list {{"Id":"ab","Ports":{json.dumps(text)}}}\n' for text in texts)
    assert published(Section(0, lines.encode())) == {8080, 7000, 7001, 7002}


def test_ports_that_containers_publish_by_the_engines_api() -> None:
    ports = [
        {"IP": "0.0.0.0", "PrivatePort": 8080, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 81, "PublicPort": 80, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 9000, "PublicPort": 9000, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ]
    told = json.dumps([{"Id": "ab", "Ports": ports}, {"Id": "cd", "Ports": []}])
    assert published(Section(0, f"ss=x\nlist {told}\n".encode())) == {8080, 80}
    assert published(Section(0, b"ss=x\n")) == frozenset()


def test_who_listens_is_what_the_host_itself_says(free_and_open: tuple[int, int]) -> None:
    free, open_port = free_and_open
    ended = subprocess.run(["sh", "-c", question()], capture_output=True, env=os.environ | {"PROVISION_TMP": "/none"})
    ports = {one.port for one in listening(Section(ended.returncode, ended.stdout)) if one.address == "127.0.0.1"}
    assert open_port in ports
    assert free not in ports


def test_the_script_tells_open_ports_from_closed_ones(free_and_open: tuple[int, int]) -> None:
    free, taken = free_and_open
    ended = subprocess.run(
        ["sh", "-c", script({"127.0.0.1": (free, taken)})], capture_output=True, text=True, check=True
    )
    found = parse(ended.stdout, "web", "10.0.0.2")
    assert {one.port: one.open for one in found["127.0.0.1"]} == {free: False, taken: True}
    assert {one.port: one.open for one in knock("127.0.0.1", (free, taken))} == {free: False, taken: True}


def test_a_large_fleet_is_tried_by_few_processes(free_and_open: tuple[int, int], tmp_path: Path) -> None:
    free, taken = free_and_open
    (tmp_path / "curl").write_text(f'#!/bin/sh\necho curl >>{tmp_path}/log\nexec {shutil.which("curl")} "$@"\n')
    (tmp_path / "curl").chmod(0o755)
    addresses = [f"127.0.0.{number}" for number in range(1, 121)]
    # The port listens on the first of them alone.
    text = script(dict.fromkeys(addresses, (free, taken)))
    path = f"{tmp_path}:{os.environ['PATH']}"
    ended = subprocess.run(["sh", "-c", text], env={"PATH": path}, capture_output=True, text=True, check=True)
    found = parse(ended.stdout, "web", "10.0.0.2")
    tried = {(address, one.port): one.open for address, knocks in found.items() for one in knocks}
    assert len(tried) == 240
    assert [where for where, answered in tried.items() if answered] == [("127.0.0.1", taken)]
    assert (tmp_path / "log").read_text().split() == ["curl"] * 2
