"""Sessions to a real host: logging in, host keys, bastions, frames, what happens when the connection ends."""

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provision.errors import HostError, SessionLost, Unreachable
from provision.host.connect import connect
from provision.values import Secret
from tests.lab import images
from tests.lab.hosts import LabHost, owner
from tests.lab.machine import client
from tests.lab.reached import Desk
from tests.lab.wait import until

PASSWORD = "lab-login"


@pytest.fixture
def desk(tmp_path: Path, host: LabHost) -> Desk:
    """A control machine that trusts the host."""
    return Desk.at(tmp_path / "desk").knows(host)


@pytest.fixture(scope="module")
def extra_sshd(host: LabHost) -> Callable[[int, str], None]:
    """Starts further sshds of the host, on ports of its own address."""

    def start(port: int, options: str) -> None:
        host.check(f"/usr/sbin/sshd -p {port} -o PidFile=none {options}")

    return start


def make_key(folder: Path, kind: str, passphrase: str = "") -> Path:
    path = folder / f"id_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


def authorise(host: LabHost, key: Path, user: str = "admin") -> None:
    public = Path(f"{key}.pub").read_text().strip()
    host.check(f"echo '{public}' >> ~{user}/.ssh/authorized_keys")


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_key_of_each_kind_logs_in(desk: Desk, host: LabHost, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path, kind)
    authorise(host, key)
    with desk.session(host, private_key=key) as session:
        assert session.run("id -un; hostname").text.split() == ["root", host.name]
        assert session.requests == 1


def test_root_itself_needs_no_sudo(desk: Desk, host: LabHost) -> None:
    with desk.session(host, user="root", become=False) as session:
        assert session.run("id -u").out == b"0\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An empty ssh-agent; its environment."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    until(lambda: Path(path).exists(), "the agent's socket", 10)
    yield {"SSH_AUTH_SOCK": path}
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("how", ["SSH_AUTH_SOCK", "IdentityAgent"])
def test_the_agent_logs_in(
    desk: Desk, host: LabHost, agent: dict[str, str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    subprocess.run(["ssh-add", "-q", images.key()], env=os.environ | agent, check=True)
    text = desk.config.read_text().replace("IdentityAgent none\n", "")
    if how == "SSH_AUTH_SOCK":
        monkeypatch.setenv("SSH_AUTH_SOCK", agent["SSH_AUTH_SOCK"])
    else:
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        text += f"IdentityAgent {agent['SSH_AUTH_SOCK']}\n"
    desk.config.write_text(text)
    with desk.session(host, private_key=None) as session:
        assert session.run("id -un").out == b"root\n"


def test_a_key_with_a_passphrase_needs_the_agent(
    desk: Desk, host: LabHost, agent: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = make_key(tmp_path, "ed25519")
    authorise(host, key)
    subprocess.run(["ssh-add", "-q", key], env=os.environ | agent, check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True, capture_output=True)
    with pytest.raises(Unreachable, match=r"key .*id_ed25519 has a passphrase: add it to ssh-agent"):
        connect(desk.target(host, private_key=key))
    monkeypatch.setenv("SSH_AUTH_SOCK", agent["SSH_AUTH_SOCK"])
    desk.config.write_text(desk.config.read_text().replace("IdentityAgent none\n", ""))
    with desk.session(host, private_key=key) as session:
        assert session.run("id -un").out == b"root\n"


def test_a_password_logs_in(desk: Desk, host: LabHost) -> None:
    host.check(f"echo admin:{PASSWORD} | chpasswd")
    with desk.session(host, private_key=None, password=Secret.of(PASSWORD)) as session:
        assert session.run("id -un").out == b"root\n"


def test_a_password_logs_in_where_only_keyboard_interactive_is_allowed(
    desk: Desk, host: LabHost, extra_sshd: Callable[[int, str], None]
) -> None:
    host.check(f"echo admin:{PASSWORD} | chpasswd")
    extra_sshd(2202, "-o PasswordAuthentication=no -o KbdInteractiveAuthentication=yes -o UsePAM=yes")
    with desk.known_hosts.open("a") as file:
        file.write(f"[{host.address}]:2202 {host.known_hosts.split(' ', 1)[1]}")
    there: dict[str, Any] = {"host": host.address, "port": 2202, "private_key": None}
    with desk.session(host, password=Secret.of(PASSWORD), **there) as session:
        assert session.run("id -un").out == b"root\n"


def test_two_factors_are_given_one_after_the_other(
    desk: Desk, host: LabHost, extra_sshd: Callable[[int, str], None]
) -> None:
    host.check(f"echo admin:{PASSWORD} | chpasswd")
    extra_sshd(2203, "-o AuthenticationMethods=publickey,password")
    with desk.known_hosts.open("a") as file:
        file.write(f"[{host.address}]:2203 {host.known_hosts.split(' ', 1)[1]}")
    with desk.session(host, host=host.address, port=2203, password=Secret.of(PASSWORD)) as session:
        assert session.run("id -un").out == b"root\n"
    with pytest.raises(Unreachable, match="was taken, the server also wants password"):
        connect(desk.target(host, host=host.address, port=2203))


def test_a_refused_login_says_what_was_tried(desk: Desk, host: LabHost, tmp_path: Path) -> None:
    key = make_key(tmp_path, "ed25519")
    with pytest.raises(Unreachable) as caught:
        connect(desk.target(host, private_key=key, password=Secret.of("wrong")))
    text = str(caught.value)
    assert text.startswith(
        f"{host.name}: cannot log in as admin at 127.0.0.1:{host.port}: refused: key {key}, password"
    )
    assert "-k" in text
    assert "wrong" not in text.replace("password", "")
    with pytest.raises(Unreachable, match=r"key /no/such/key does not exist"):
        connect(desk.target(host, private_key=Path("/no/such/key")))


def test_an_unknown_host_key_is_refused_with_its_fingerprint(desk: Desk, host: LabHost) -> None:
    desk.known_hosts.write_text("")
    printed = host.check("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    with pytest.raises(Unreachable) as caught:
        connect(desk.target(host))
    assert caught.value.message == f"the host key of [127.0.0.1]:{host.port} is not known: ssh-ed25519 {printed}"
    assert caught.value.hint.endswith(f"provision trust {host.name}")


def test_a_changed_host_key_is_a_hard_stop_with_both_fingerprints(desk: Desk, host: LabHost, tmp_path: Path) -> None:
    other = Path(f"{make_key(tmp_path, 'ed25519')}.pub").read_text()
    desk.known_hosts.write_text(f"[127.0.0.1]:{host.port} {other}")
    listed = subprocess.run(["ssh-keygen", "-lf", desk.known_hosts], capture_output=True, text=True, check=True)
    printed = host.check("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    with pytest.raises(Unreachable, match="HAS CHANGED") as caught:
        connect(desk.target(host))
    assert printed in caught.value.message
    assert listed.stdout.split()[1] in caught.value.message
    assert f"ssh-keygen -R '[127.0.0.1]:{host.port}'" in caught.value.hint


def test_a_hashed_known_hosts_file_is_read(desk: Desk, host: LabHost) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", desk.known_hosts], capture_output=True, check=True)
    with desk.session(host) as session:
        assert session.run("true").rc == 0


def test_the_host_is_asked_for_the_key_that_is_known(
    desk: Desk, host: LabHost, extra_sshd: Callable[[int, str], None]
) -> None:
    host.check("rm -f /tmp/rsa; ssh-keygen -q -t rsa -N '' -f /tmp/rsa")
    extra_sshd(2204, "-o HostKey=/tmp/rsa -o HostKey=/etc/ssh/ssh_host_ed25519_key")
    desk.known_hosts.write_text(f"[{host.address}]:2204 {host.check('cat /tmp/rsa.pub')}")
    with desk.session(host, host=host.address, port=2204) as session:
        assert session.run("true").rc == 0


@pytest.mark.parametrize("how", ["inventory", "config"])
def test_through_a_bastion(desk: Desk, host: LabHost, how: str) -> None:
    inside: dict[str, Any] = {"host": "127.0.0.1", "port": 22}
    if how == "config":
        text = f"Host inside\n  HostName 127.0.0.1\n  ProxyJump admin@127.0.0.1:{host.port}\n"
        desk.config.write_text(desk.config.read_text() + text)
        changes = inside | {"host": "inside"}
    else:
        changes = inside | {"jump": (f"admin@127.0.0.1:{host.port}", "admin@127.0.0.1:22")}
    with desk.session(host, **changes) as session:
        assert session.run("id -un").out == b"root\n"
        data = os.urandom(1 << 20)
        session.upload("/run/through", data, sha256=hashlib.sha256(data).hexdigest())


def test_a_bastion_that_cannot_reach_the_host(desk: Desk, host: LabHost) -> None:
    with pytest.raises(Unreachable, match=r"the jump host cannot reach 127\.0\.0\.1:9: "):
        connect(desk.target(host, port=9, jump=(f"admin@127.0.0.1:{host.port}",)))


def test_an_unknown_bastion_is_named(desk: Desk, host: LabHost) -> None:
    desk.known_hosts.write_text("")
    with pytest.raises(Unreachable, match=rf"the host key of \[127\.0\.0\.1\]:{host.port} is not known"):
        connect(desk.target(host, port=22, jump=(f"admin@127.0.0.1:{host.port}",)))


def test_through_a_proxy_command(desk: Desk, host: LabHost) -> None:
    command = f"ssh -F {desk.config} -i {images.key()} -W %h:%p -p {host.port} %r@127.0.0.1"
    with desk.session(host, port=22, proxy_command=command) as session:
        assert session.run("id -un").out == b"root\n"


def test_a_proxy_command_that_fails_is_quoted(desk: Desk, host: LabHost) -> None:
    with pytest.raises(Unreachable, match=r"the proxy command to .* failed: proxy says no"):
        connect(desk.target(host, proxy_command="sh -c 'echo proxy says no >&2; exit 1'"))


def test_a_host_that_is_down(desk: Desk, host: LabHost) -> None:
    with pytest.raises(Unreachable, match=r"cannot connect to 127\.0\.0\.1:1: Connection refused"):
        connect(desk.target(host, port=1))
    with pytest.raises(Unreachable, match=r"cannot connect to no-such-name\.invalid:22: "):
        connect(desk.target(host, host="no-such-name.invalid", port=22))


def test_something_that_is_no_sshd(desk: Desk, host: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.host.ssh._BACKOFF", (0.05,))
    with pytest.raises(Unreachable, match=r"the proxy command|closed the connection at once|handshake with"):
        connect(desk.target(host, proxy_command="exec cat /dev/null"))


def test_more_logins_at_once_than_sshd_takes(desk: Desk, host: LabHost, extra_sshd: Callable[[int, str], None]) -> None:
    extra_sshd(2205, "-o MaxStartups=2:100:2")
    with desk.known_hosts.open("a") as file:
        file.write(f"[{host.address}]:2205 {host.known_hosts.split(' ', 1)[1]}")
    target = desk.target(host, host=host.address, port=2205)
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda _: connect(target), range(8)))
    assert [session.run("id -un").out for session in sessions] == [b"root\n"] * 8
    for session in sessions:
        session.close()


@pytest.mark.parametrize("suite", ["debian-12", "debian-13"])
def test_frames_of_every_size_arrive_whole(desk: Desk, hosts: Callable[..., LabHost], suite: str) -> None:
    there = hosts(suite=suite)
    with desk.knows(there).session(there) as session:
        assert session.run("# " + "x" * (1 << 20) + "\necho end").out == b"end\n"
        binary = session.run("head -c 3000000 /dev/urandom >/run/r; cat /run/r; sha256sum /run/r >&2")
        assert hashlib.sha256(binary.out).hexdigest().encode() == binary.err.split()[0]
        data = os.urandom(64 << 20)
        session.upload("/run/big", data, sha256=hashlib.sha256(data).hexdigest())
        assert session.run("sha256sum </run/big; stat -c '%a %U' /run/big").text.split() == [
            hashlib.sha256(data).hexdigest(), "-", "600", "root",
        ]  # fmt: skip
        assert session.run("cat; echo no input").out == b"no input\n"
        assert session.run("if").rc == 2
        assert session.run("sleep 60 & echo gone").out == b"gone\n"


def test_a_full_disk(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as session:
        session.run("mkdir -p /mnt/small && mount -t tmpfs -o size=4m tmpfs /mnt/small")
        with pytest.raises(HostError, match=r"cannot write /mnt/small/x \(16\.8 MB\): .*No space left.*are free"):
            session.upload("/mnt/small/x", bytes(16 << 20))
        assert session.run("ls -A /mnt/small; umount /mnt/small; echo ok").out == b"ok\n"


def test_noise_of_the_login_shell_is_no_part_of_an_answer(desk: Desk, host: LabHost) -> None:
    host.check("cp ~admin/.bashrc /tmp/bashrc; sed -i '1i printf noise; echo err >&2' ~admin/.bashrc")
    with desk.session(host) as session:
        assert (session.run("echo clean").out, session.run("echo clean >&2").err) == (b"clean\n", b"clean\n")
    host.check("cp /tmp/bashrc ~admin/.bashrc")


def test_one_connection_and_one_channel_whatever_the_number_of_requests(desk: Desk, host: LabHost) -> None:
    before = host.check("journalctl -u ssh --no-pager | grep -c 'Accepted publickey'")
    with desk.session(host) as session:
        for _ in range(20):
            session.run("true")
        assert session.requests == 20
    assert int(host.check("journalctl -u ssh --no-pager | grep -c 'Accepted publickey'")) == int(before) + 1


def test_a_connection_that_is_cut_is_noticed_at_once(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as session:
        timer = threading.Timer(0.5, lambda: host.check("pkill -KILL -u admin sshd"))
        timer.start()
        started = time.monotonic()
        with pytest.raises(SessionLost, match="the connection ended while running 'sleep 8'"):
            session.run("sleep 8")
        assert time.monotonic() - started < 6
        timer.join()
        with pytest.raises(SessionLost):
            session.run("true")


def test_a_host_that_falls_silent_is_given_up_in_time(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as session:
        host.container.pause()
        try:
            with pytest.raises(SessionLost, match="no answer within 1 s while running 'echo hello'"):
                session.run("echo hello", timeout=1)
        finally:
            host.container.unpause()


def test_a_script_that_nobody_waits_for_any_more_is_ended_on_the_host(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as session:
        with pytest.raises(SessionLost, match="no answer within 1 s while running 'sleep 3456786'"):
            session.run("sleep 3456786", timeout=1)
        assert host.exec("pgrep -f 'sleep 345678[6]'").rc == 0
    until(lambda: host.exec("pgrep -f 'sleep 345678[6]'").rc == 1, "the end of the script", 20)


def test_nothing_is_left_on_the_host(desk: Desk, host: LabHost) -> None:
    with desk.session(host) as session:
        session.run("echo $X", secrets={"X": "s3cr3t"})
    until(lambda: not host.check("ls -d /run/provision/s.* 2>/dev/null || true"), "the end of all root shells", 20)
    assert host.exec("grep -rl s3cr3t /run/provision /tmp /var/log").out == ""


def test_a_container_is_a_host_too(desk: Desk, host: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    target = {"kind": "docker", "host": host.name}
    # Docker's client is not needed on this machine.
    monkeypatch.setenv("PATH", "/nowhere")
    with desk.session(host, **target, user=None) as session:
        assert session.run("id -un; hostname").text.split() == ["root", host.name]
        session.upload("/run/big", content := os.urandom(3 << 20))
        assert hashlib.sha256(session.run("cat /run/big; rm /run/big").out).digest() == hashlib.sha256(content).digest()
    with desk.session(host, **target, user="admin") as session:
        assert session.run("id -un").out == b"root\n"
    with pytest.raises(Unreachable, match=r"[Nn]o such container"):
        connect(desk.target(host, kind="docker", host="no-such-container"))
    with pytest.raises(Unreachable, match="unable to find user nobody-here"):
        connect(desk.target(host, **target, user="nobody-here"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(Unreachable, match="Docker on this machine cannot be asked"):
        connect(desk.target(host, **target, user=None))


def test_a_container_that_ends_in_the_middle_is_a_lost_session(desk: Desk, host: LabHost) -> None:
    container = client().containers.create(
        images.tag("debian-13", "plain"), entrypoint=["sleep", "600"], labels=owner()
    )
    target = desk.target(host, kind="docker", host=str(container.name), user=None)
    try:
        with pytest.raises(Unreachable, match=f"the container {container.name} does not run; docker start it"):
            connect(target)
        container.start()
        session = connect(target)
        assert session.run("echo up").out == b"up\n"
        container.kill()
        with pytest.raises(SessionLost):
            session.run("echo up")
        session.close()
    finally:
        container.remove(force=True)
