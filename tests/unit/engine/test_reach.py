import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.engine.declare import Declarer, check_roles
from provision.engine.reach import Reach, target_of
from provision.errors import HostError, HostRefused, InputError, Unreachable
from provision.host.session import Answer
from provision.host.target import Target
from provision.inventory import load
from provision.inventory.fleet import Fleet
from provision.roles import RoleSchemas
from provision.values import Secret
from tests.unit.engine.world import ShSession
from tests.unit.facts.tree import Tree

ROLE = """
from pydantic import BaseModel
from provision.resources.file import File
from provision.fields import HostOrGroup


class Settings(BaseModel):
    of: list[HostOrGroup] = []
    template: str = ""


def declare(host, want):
    for name in want.of:
        for peer in host.peers(name):
            yield File(f"/{peer.name}", peer.address)
    if want.template:
        yield File("/rendered", host.render(want.template, name=host.name))
    if want.template == "refuse":
        raise ValueError("not today")
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles/peers.py").write_text(ROLE)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/hello.j2").write_text("hello {{ name }}")
    (tmp_path / "inventory.yml").write_text(
        """
all:
  vars: {ansible_host: 127.0.0.1, provision_roles: [peers]}
  hosts:
    a: {peers: {of: [b, c]}}
    b: {address: b.lan}
    c: {ansible_host: 10.0.0.3}
    d: {peers: {of: [e]}}
    e: {}
    f: {peers: {template: hello.j2}}
    g: {peers: {template: nothing.j2}}
"""
    )
    return load(tmp_path / "inventory.yml", RoleSchemas(tmp_path / "inventory.yml"))


class Hosts:
    """Makes sessions that answer the probe of a tree; counts the connections."""

    def __init__(self, tmp_path: Path, tree: Callable[[], bytes]) -> None:
        self.root, self.tree = tmp_path, tree
        self.made: list[str] = []
        self.down: set[str] = set()

    def connect(self, target: Target) -> ShSession:
        self.made.append(target.name)
        if target.name in self.down:
            raise Unreachable(target.name, "no route")
        session = ShSession(self.root)
        session.name = target.name
        session.answer = Answer(0, self.tree(), b"")
        return session


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    tree = Tree(tmp_path / "tree")
    tree.file("etc/os-release", 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nPRETTY_NAME="Debian 13"\n')
    tree.command("apt-get")
    output = tree.output()
    return Hosts(tmp_path, lambda: output)


def test_a_host_is_connected_to_once_whoever_needs_it(fleet: Fleet, hosts: Hosts) -> None:
    reach = Reach(fleet, connect=hosts.connect)
    threads = [threading.Thread(target=reach.host, args=("e",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reach.supported("e").identity.os.version == "13"
    assert hosts.made == ["e"]


def test_an_address_is_the_declared_one_else_the_hosts_own(fleet: Fleet, hosts: Hosts) -> None:
    reach = Reach(fleet, connect=hosts.connect)
    assert reach.address("a", "b") == "b.lan"
    assert reach.address("a", "c") == "10.0.0.3"
    assert hosts.made == []
    assert reach.address("d", "e") == "10.0.0.5"
    assert hosts.made == ["e"]


def test_a_peer_that_cannot_be_asked_is_an_error_of_who_needs_it(fleet: Fleet, hosts: Hosts) -> None:
    hosts.down = {"e"}
    reach = Reach(fleet, connect=hosts.connect)
    declarer = Declarer(fleet, reach)
    with pytest.raises(HostError, match=r"d: needs the address of e, .*no route.*; set `address` of e"):
        declarer.declare(fleet.hosts["d"], reach.host("a").identity)
    with pytest.raises(Unreachable):
        reach.host("e")
    assert hosts.made.count("e") == 1


def test_a_probe_that_is_cut_off_is_an_error(fleet: Fleet, hosts: Hosts) -> None:
    whole = hosts.tree()
    hosts.tree = lambda: whole[: len(whole) // 2]
    with pytest.raises(HostError, match="a: "):
        Reach(fleet, connect=hosts.connect).host("a")


def test_a_system_that_is_not_supported_is_refused(fleet: Fleet, hosts: Hosts) -> None:
    whole = hosts.tree()
    hosts.tree = lambda: whole.replace(b"debian", b"gentoo")
    reach = Reach(fleet, connect=hosts.connect)
    with pytest.raises(HostRefused, match=r"a: .*not supported"):
        reach.supported("a")


def test_roles_see_peers_and_templates(fleet: Fleet, hosts: Hosts) -> None:
    reach = Reach(fleet, connect=hosts.connect)
    declarer, identity = Declarer(fleet, reach), reach.host("a").identity
    made = declarer.declare(fleet.hosts["a"], identity)
    assert [resource.id for resource in made.resources] == ["file:/b", "file:/c"]
    rendered = declarer.declare(fleet.hosts["f"], identity).resources[0]
    assert "hello f" in str(vars(rendered))
    with pytest.raises(InputError, match=r"nothing\.j2"):
        declarer.declare(fleet.hosts["g"], identity)


def test_with_roles_only_these_are_asked(fleet: Fleet, hosts: Hosts) -> None:
    reach = Reach(fleet, connect=hosts.connect)
    assert Declarer(fleet, reach, ["other"]).declare(fleet.hosts["a"], reach.host("a").identity).resources == ()
    check_roles(["peers"], list(fleet.hosts.values()))
    with pytest.raises(InputError, match=r"none of these hosts has the role 'peer'; did you mean 'peers'?"):
        check_roles(["peer"], list(fleet.hosts.values()))


def test_typed_passwords_win_and_root_is_reached_by_sudo_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "inventory.yml").write_text(
        "all: {hosts: {a: {}, b: {ansible_become: false}, c: {ansible_password: old, ansible_ssh_common_args: '-J x,y'}"
        "}}"
    )
    fleet = load(tmp_path / "inventory.yml", {})
    assert [target_of(host).become for host in fleet.match("all")] == [True, False, True]
    assert target_of(fleet.hosts["c"]).jump == ("x", "y")
    typed = Reach(fleet, Secret.of("typed"), None).target(fleet.hosts["c"])
    assert typed.password and typed.password.reveal() == "typed"


def test_a_connection_that_lay_idle_is_made_anew_and_what_the_host_is_stays_known(fleet: Fleet, hosts: Hosts) -> None:
    reach = Reach(fleet, connect=hosts.connect, stale=-1)
    first = reach.host("e")
    hosts.tree = lambda: b"nothing"
    second = reach.supported("e")
    assert hosts.made == ["e", "e"]
    assert second.session is not first.session
    assert second.identity == first.identity


def test_what_was_begun_is_what_is_used(fleet: Fleet, hosts: Hosts) -> None:
    hosts.down = {"b"}
    reach = Reach(fleet, connect=hosts.connect)
    reach.begin(["a", "b"])
    assert reach.supported("a").identity.os.version == "13"
    with pytest.raises(Unreachable):
        reach.host("b")
    assert sorted(hosts.made) == ["a", "b"]


def test_a_connection_that_is_still_being_made_when_all_are_closed_ends_as_well(
    fleet: Fleet, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, closed, ended = threading.Event(), threading.Event(), threading.Event()

    def connect(target: Target) -> ShSession:
        connecting.set()
        assert closed.wait(30)
        session = hosts.connect(target)
        monkeypatch.setattr(session, "close", ended.set)
        return session

    reach = Reach(fleet, connect=connect)
    reach.begin(["a"])
    assert connecting.wait(30)
    reach.close()
    closed.set()
    assert ended.wait(30)


def test_a_connection_that_does_not_let_go_keeps_no_other_from_ending(
    fleet: Fleet, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, free = threading.Event(), threading.Event()
    given_up: list[bool] = []
    reach = Reach(fleet, connect=hosts.connect)
    monkeypatch.setattr(reach.host("a").session, "close", lambda: given_up.append(not free.wait(10)))
    monkeypatch.setattr(reach.host("b").session, "close", ended.set)
    reach.close()
    assert ended.wait(30) and not given_up
    free.set()
