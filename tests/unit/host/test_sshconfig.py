"""From a target and an ssh_config to a route, by `ssh -G` and by paramiko's reader."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from provision.errors import Unreachable
from provision.host.sshconfig import Route, jump_route, route
from provision.host.target import Target

CONFIG = """
Host gpu*
  HostName 10.0.0.%h
  User ops
  Port 2222
  IdentityFile ~/.ssh/fleet
  ProxyJump door@bastion:2200,inner
  UserKnownHostsFile {folder}/known {folder}/more
Host proxied
  ProxyCommand nc -x proxy:1080 %h %p
  HostKeyAlias alias
  IdentitiesOnly yes
  IdentityAgent none
  ConnectTimeout 4
Host bastion
  User door-default
  HostName door.example
"""


@pytest.fixture(params=["ssh -G", "paramiko"])
def config(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration, read by each of the two."""
    if request.param == "paramiko":
        monkeypatch.setattr(shutil, "which", lambda _name: None)
    file = tmp_path / "config"
    file.write_text(CONFIG.format(folder=tmp_path))
    return file


def test_the_configuration_fills_in_what_the_inventory_leaves_open(config: Path) -> None:
    found = route(Target("one", host="gpu1", config_file=config))
    assert (found.label, found.host, found.user, found.port) == ("one", "10.0.0.gpu1", "ops", 2222)
    assert found.keys == (Path("~/.ssh/fleet").expanduser(),)
    assert found.jump == ("door@bastion:2200", "inner")
    assert found.known_hosts[:2] == (config.parent / "known", config.parent / "more")


def test_what_the_inventory_says_wins(config: Path) -> None:
    target = Target("gpu1", port=22, user="admin", private_key=Path("/k"), jump=("other",), config_file=config)
    found = route(target)
    assert (found.user, found.port, found.keys, found.keys_only) == ("admin", 22, (Path("/k"),), True)
    assert (found.jump, found.proxy_command) == (("other",), None)
    assert route(replace(target, jump=(), proxy_command="nc %h")).proxy_command == "nc %h"


def test_options_of_the_inventory_reach_the_configuration(config: Path) -> None:
    found = route(Target("x", config_file=config, options=("UserKnownHostsFile=/kh", "Port 2022")))
    assert (found.known_hosts[0], found.port) == (Path("/kh"), 2022)


def test_a_proxy_command_an_alias_and_no_agent(config: Path) -> None:
    found = route(Target("proxied", config_file=config))
    assert found.proxy_command in ("nc -x proxy:1080 %h %p", "nc -x proxy:1080 proxied 22")
    assert (found.known_as, found.keys_only, found.agent, found.connect_timeout) == ("alias", True, "", 4.0)


def test_a_host_without_configuration_gets_openssh_s_defaults(config: Path) -> None:
    found = route(Target("plain", config_file=config))
    assert (found.host, found.port, found.jump, found.agent) == ("plain", 22, (), None)
    assert Path("~/.ssh/id_ed25519").expanduser() in found.keys
    assert found.known_hosts[0] == Path("~/.ssh/known_hosts").expanduser()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("bastion", ("door.example", 22, "door-default")),
        ("me@bastion:2200", ("door.example", 2200, "me")),
        ("ssh://me@bastion:2200", ("door.example", 2200, "me")),
        ("[fe80::1]:2200", ("fe80::1", 2200, None)),
    ],
)
def test_a_jump_host_is_looked_up_as_well(config: Path, word: str, expected: tuple[str, int, str | None]) -> None:
    found: Route = jump_route(Target("x", config_file=config), word)
    assert (found.host, found.port) == expected[:2]
    assert expected[2] in (None, found.user)


@pytest.mark.parametrize("word", ["", "a b", "-oProxyCommand=x", "user@-x", "host:port"])
def test_what_is_no_jump_host(config: Path, word: str) -> None:
    with pytest.raises(Unreachable, match=r"is not \[user@\]host\[:port\]"):
        jump_route(Target("x", config_file=config), word)


def test_a_broken_configuration_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host *\n  NoSuchOption yes\n")
    with pytest.raises(Unreachable, match=r"^x: ssh cannot read its configuration for x: .*terminating"):
        route(Target("x", config_file=tmp_path / "config"))


def test_include_is_missed_aloud_without_openssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    (tmp_path / "config").write_text("Include other\n")
    with caplog.at_level(logging.WARNING):
        route(Target("x", config_file=tmp_path / "config"))
    assert "Include is not followed" in caplog.text
