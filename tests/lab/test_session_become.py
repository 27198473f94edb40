"""From the login user to root, by every way that a host may offer or refuse."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.errors import BecomeError, HostError, Unreachable
from provision.host.connect import connect
from provision.values import Secret
from tests.lab.hosts import LabHost
from tests.lab.images import ROOT_PASSWORD, SUDO_PASSWORD
from tests.lab.reached import Desk

Start = Callable[..., LabHost]
RIGHT, WRONG = Secret.of(SUDO_PASSWORD), Secret.of("not it")


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def sudo_host(request: pytest.FixtureRequest, hosts: Start) -> LabHost:
    """A host where admin's sudo asks for a password; bob may log in, but not become root."""
    host = hosts(suite=request.param, variant="sudo-password")
    host.check("useradd -m -s /bin/sh bob && echo bob:bob | chpasswd && cp -r ~admin/.ssh ~bob/ && chown -R bob: ~bob")
    return host


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def su_host(request: pytest.FixtureRequest, hosts: Start) -> LabHost:
    """A host without sudo."""
    return hosts(suite=request.param, variant="su-only")


@pytest.fixture
def sudoers(sudo_host: LabHost) -> Iterator[Callable[[str], None]]:
    """Adds lines to sudoers for one test."""
    yield lambda text: sudo_host.put("/etc/sudoers.d/zz-test", f"{text}\n".encode(), 0o440)
    sudo_host.check("rm -f /etc/sudoers.d/zz-test; rm -rf /run/sudo/ts /var/lib/sudo/ts /var/lib/sudo/lectured")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A control machine."""
    return Desk.at(tmp_path / "desk")


def who(desk: Desk, host: LabHost, **how: Any) -> str:
    with desk.knows(host).session(host, **how) as session:
        return session.run("id -un").text.strip()


def complaint(desk: Desk, host: LabHost, **how: Any) -> str:
    with pytest.raises(HostError) as caught:
        connect(desk.knows(host).target(host, **how))
    assert isinstance(caught.value, BecomeError | Unreachable)
    text = str(caught.value)
    assert "\n" not in text
    for secret in (SUDO_PASSWORD, ROOT_PASSWORD, "not it"):
        assert secret not in text
    return text.removeprefix(f"{host.name}: ")


def test_sudo_takes_the_password_once_it_has_asked(desk: Desk, sudo_host: LabHost) -> None:
    assert who(desk, sudo_host, become_password=RIGHT) == "root"


def test_sudo_takes_the_login_password_where_no_other_is_set(desk: Desk, sudo_host: LabHost) -> None:
    assert who(desk, sudo_host, password=RIGHT, private_key=None) == "root"


def test_sudo_without_a_password_says_what_to_do(desk: Desk, sudo_host: LabHost) -> None:
    said = complaint(desk, sudo_host)
    assert said == (
        "cannot become root: sudo asks for a password; use -K, set ansible_become_password or allow NOPASSWD in sudoers"
    )


def test_sudo_with_a_wrong_password(desk: Desk, sudo_host: LabHost) -> None:
    said = complaint(desk, sudo_host, become_password=WRONG)
    assert said == "cannot become root: sudo refused the password; is it that of admin?"


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param("admin ALL=(ALL) NOPASSWD:ALL", id="NOPASSWD"),
        pytest.param("Defaults lecture=always", id="lecture"),
        pytest.param("Defaults use_pty", id="use_pty"),
        pytest.param("Defaults !use_pty", id="no use_pty"),
        pytest.param("Defaults passprompt_override, passwd_tries=1", id="one try"),
        pytest.param('Defaults badpass_message="Nein."', id="other words"),
        pytest.param("Defaults log_input, log_output", id="recorded"),
    ],
)
def test_a_password_that_is_set_does_no_harm_and_binary_passes(
    desk: Desk, sudo_host: LabHost, sudoers: Callable[[str], None], lines: str
) -> None:
    sudoers(lines)
    with desk.knows(sudo_host).session(sudo_host, become_password=RIGHT) as session:
        answer = session.run("head -c 3000000 /dev/urandom >/run/r; cat /run/r; sha256sum /run/r >&2")
        assert hashlib.sha256(answer.out).hexdigest().encode() == answer.err.split()[0]
        data = bytes(range(256)) * 4096
        session.upload("/run/up", data, sha256=hashlib.sha256(data).hexdigest())


def test_a_cached_ticket_needs_no_password(desk: Desk, sudo_host: LabHost, sudoers: Callable[[str], None]) -> None:
    sudoers("Defaults timestamp_type=global")
    assert "asks for a password" in complaint(desk, sudo_host)
    assert sudo_host.ssh(f"echo {SUDO_PASSWORD} | sudo -S -v").rc == 0
    assert who(desk, sudo_host) == "root"
    assert who(desk, sudo_host, become_password=RIGHT) == "root"


@pytest.mark.parametrize(
    ("lines", "how", "said"),
    [
        ("Defaults:admin requiretty", {}, "sudo wants a terminal (requiretty); put `Defaults:admin !requiretty`"),
        ("Defaults passwd_tries=1", {"become_password": WRONG}, "sudo refused the password"),
        ("", {"user": "bob", "become_password": Secret.of("bob")}, "bob is not in sudoers; add bob to the group sudo"),
        ("", {"user": "bob"}, "sudo asks for a password"),
        ("bob ALL=(root) /usr/bin/id", {"user": "bob", "become_password": Secret.of("bob")}, "some commands only"),
        ("", {"become": False}, "logged in as admin, and become is off; set ansible_become: true"),
    ],
)
def test_what_sudo_refuses_is_one_clear_line(
    desk: Desk, sudo_host: LabHost, sudoers: Callable[[str], None], lines: str, how: dict[str, Any], said: str
) -> None:
    sudoers(lines)
    assert said in complaint(desk, sudo_host, **how)


def test_su_takes_root_s_password(desk: Desk, su_host: LabHost) -> None:
    with desk.knows(su_host).session(su_host, become_method="su", become_password=Secret.of(ROOT_PASSWORD)) as session:
        assert session.run("id -un; echo $HOME").text.split() == ["root", "/root"]
        answer = session.run("head -c 1000000 /dev/urandom >/run/r; cat /run/r; sha256sum /run/r >&2")
        assert hashlib.sha256(answer.out).hexdigest().encode() == answer.err.split()[0]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"become_method": "su"}, "cannot become root: su asks for a password; use -K or set ansible_become_password"),
        ({"become_method": "su", "become_password": WRONG}, "cannot become root: su refused the password"),
        ({"become_method": "sudo"}, "cannot become root: sudo is not installed; "),
    ],
)
def test_what_su_refuses_is_one_clear_line(desk: Desk, su_host: LabHost, how: dict[str, Any], said: str) -> None:
    assert complaint(desk, su_host, **how).startswith(said)


@pytest.fixture(scope="module")
def shells_host(hosts: Start) -> LabHost:
    """A host with users of odd login shells."""
    host = hosts()
    host.check("apt-get install -q -y --no-install-recommends tcsh fish")
    return host


@pytest.mark.parametrize("shell", ["/bin/tcsh", "/usr/bin/fish", "/bin/rbash", "/bin/dash"])
def test_login_shells_of_every_kind_pass_the_command(desk: Desk, shells_host: LabHost, shell: str) -> None:
    shells_host.check(f"usermod -s {shell} admin")
    assert who(desk, shells_host) == "root"


@pytest.mark.parametrize(
    ("shell", "said"),
    [("/usr/sbin/nologin", "it said 'This account is currently not available.'"), ("/bin/false", "runs no command;")],
)
def test_a_login_shell_that_runs_nothing_is_one_clear_line(
    desk: Desk, shells_host: LabHost, shell: str, said: str
) -> None:
    shells_host.check(f"usermod -s {shell} admin")
    text = complaint(desk, shells_host)
    assert text.startswith("logged in, but the login shell runs no command")
    assert said in text
