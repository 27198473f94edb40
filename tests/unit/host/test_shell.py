"""The root shell's protocol, in every shell that a host may have as `sh`."""

import contextlib
import hashlib
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from provision.errors import BecomeError, HostError, SessionLost
from provision.host.become import portable
from provision.host.connect import RootSession
from provision.host.local import reap, spawn
from provision.host.target import Target
from provision.host.wire import SocketWire, Wire
from tests.lab.wait import until
from tests.unit.host.sandbox import Sandbox


def test_a_script_answers_with_its_status_and_both_outputs(session: RootSession) -> None:
    answer = session.run("echo out; echo err >&2; exit 7")
    assert (answer.rc, answer.out, answer.err, answer.truncated) == (7, b"out\n", b"err\n", False)
    assert session.requests == 1


def test_a_script_runs_as_root_in_the_c_locale_with_the_usual_umask(session: RootSession) -> None:
    assert session.run('id -u; umask; pwd; echo "$LC_ALL $HOME"').text.split() == ["0", "0022", "/", "C", "/root"]


def test_a_script_of_a_megabyte(session: RootSession) -> None:
    assert session.run("# " + "x" * (1 << 20) + "\necho end").out == b"end\n"


def test_three_megabytes_of_binary_output(session: RootSession, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    assert session.run("cat /run/data; cat /run/data >&2") == (
        answer := session.run("cat /run/data; cat /run/data >&2")
    )
    assert answer.out == data
    assert answer.err == data


def test_output_over_the_limit_is_cut_and_said_to_be(session: RootSession) -> None:
    answer = session.run("head -c 5000 /dev/zero; head -c 10 /dev/zero >&2", limit=1000)
    assert (len(answer.out), len(answer.err), answer.truncated) == (1000, 10, True)
    assert session.run("echo next").out == b"next\n"


@pytest.mark.parametrize(
    ("script", "rc"),
    [
        pytest.param("cat; read -r line; exit 3", 3, id="reads standard input"),
        pytest.param("if", 2, id="syntax error"),
        pytest.param("kill -9 $$", 137, id="killed"),
        pytest.param("sleep 60 & exit 4", 4, id="leaves a child behind"),
        pytest.param("exec >&- 2>&-; exit 5", 5, id="closes its outputs"),
        pytest.param("", 0, id="empty"),
        pytest.param("printf 'no newline'", 0, id="no newline"),
    ],
)
def test_the_session_stays_in_step_after(session: RootSession, script: str, rc: int) -> None:
    answer = session.run(script, timeout=20)
    assert answer.rc == rc or (rc == 2 and answer.rc in (1, 2))
    assert session.run("echo still here").out == b"still here\n"


def test_a_child_left_behind_cannot_write_into_a_later_answer(session: RootSession) -> None:
    session.run("(sleep 0.3; echo late; echo late >&2) & exit 0")
    assert session.run("sleep 0.6; echo mine").out == b"mine\n"


def test_secrets_are_exported_and_leave_no_trace(session: RootSession, tmp_path: Path) -> None:
    value = "s3cr3t 'quoted' \"$HOME\" `id`\nsecond line\\"
    script = 'printf %s "$KEY" | sha256sum; cat /proc/[0-9]*/cmdline 2>/dev/null | grep -c s3cr[3]t'
    answer = session.run(script, secrets={"KEY": value})
    assert answer.out.split()[0].decode() == hashlib.sha256(value.encode()).hexdigest()
    assert answer.out.split()[-1] == b"0"
    left = [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    assert left == []


def test_a_silent_script_is_given_up_and_ended_on_the_host(session: RootSession) -> None:
    # No other run of the tests on this machine sleeps as long.
    command = f"sleep 3{os.getpid()}"
    with pytest.raises(SessionLost, match=f"no answer within 1 s while running '{command}'"):
        session.run(command, timeout=1)
    with pytest.raises(SessionLost):
        session.run("echo more")
    until(lambda: not _runs(command), "the end of the script on the host", 20)


def _runs(command: str) -> bool:
    words = command.encode().replace(b" ", b"\0")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words in path.read_bytes():
                return True
    return False


def test_a_script_that_was_cut_off_is_not_run(sandbox: Sandbox, tmp_path: Path) -> None:
    wire = sandbox.session()._shell._wire
    wire.send(b"r 100 1000 60\ntouch /run/ran\n")
    wire.close()
    until(lambda: not list((tmp_path / "provision").glob("s.*")), "the end of the shell", 10)
    assert not (tmp_path / "ran").exists()


def test_what_a_killed_session_left_is_cleaned_up_by_the_next(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "provision" / "s.999999999").mkdir(parents=True)
    (tmp_path / "provision" / "s.999999999" / "c").write_text("a secret")
    sandbox.session().close()
    until(lambda: not list((tmp_path / "provision").glob("s.*")), "the end of the shell", 10)


def test_an_upload_arrives_whole_and_private(session: RootSession, tmp_path: Path) -> None:
    data = os.urandom(5_000_001)
    seen: list[tuple[int, int]] = []
    path = "/run/with space & 'quote'"
    session.upload(path, data, sha256=hashlib.sha256(data).hexdigest(), progress=lambda *step: seen.append(step))
    file = tmp_path / path.removeprefix("/run/")
    assert file.read_bytes() == data
    assert file.stat().st_mode & 0o777 == 0o600
    assert seen[-1] == (len(data), len(data))
    assert seen == sorted(seen)


def test_a_file_is_uploaded_as_its_bytes_are(session: RootSession, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"")
    session.upload("/run/empty", source)
    assert (tmp_path / "empty").read_bytes() == b""
    source.write_bytes(os.urandom(300_000))
    session.upload("/run/full", source)
    assert (tmp_path / "full").read_bytes() == source.read_bytes()


def test_an_upload_with_another_digest_is_removed(session: RootSession, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"/run/x: its SHA-256 is [0-9a-f]{64}, not abc"):
        session.upload("/run/x", b"data", sha256="abc")
    assert not (tmp_path / "x").exists()


def test_a_full_disk_leaves_nothing_and_the_session_goes_on(session: RootSession) -> None:
    assert session.run("mkdir /run/small && mount -t tmpfs -o size=1m tmpfs /run/small").rc == 0
    with pytest.raises(HostError, match=r"cannot write /run/small/x \(4.0 MB\): .*; [\d.]+ [kM]?B are free"):
        session.upload("/run/small/x", b"x" * 4_000_000)
    assert session.run("ls -A /run/small").out == b""


@pytest.mark.parametrize("path", ["relative", "/ends/in/slash/", "/new\nline", "/ends in space "])
def test_a_path_that_the_protocol_cannot_carry_is_refused(session: RootSession, path: str) -> None:
    with pytest.raises(HostError, match="not an absolute path"):
        session.upload(path, b"")


def test_an_upload_into_a_missing_directory(session: RootSession) -> None:
    with pytest.raises(HostError, match=r"cannot write /run/no/x \(1 B\): .*[Nn]o such file or directory"):
        session.upload("/run/no/x", b"x")
    assert session.run("echo on").out == b"on\n"


class _Liar:
    """A host that becomes ready, and then answers as it likes."""

    def __init__(self, answers: str) -> None:
        self.answers = answers

    def open(self, command: Sequence[str]) -> Wire:
        nonce = shlex.split(" ".join(command))[3]
        script = 'printf "\\n%s ready /run/provision\\n" "$1"; read -r request; printf "$0"'
        ours, child = spawn(["sh", "-c", script, self.answers, nonce], stderr=subprocess.STDOUT)
        return SocketWire(ours, lambda: reap(child))

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("hello\\n", "the host gave an answer that is none"),
        ("0 99999999999999 0\\n", "the host gave an answer that is none"),
        ("0 -1 0\\n", "the host gave an answer that is none"),
        ("0000000000000000000000000000000000000000000000", "the host gave an answer that is none"),
        ("0 5 0\\nabc", "the connection ended while running 'echo x'"),
        ("", "the connection ended while running 'echo x'"),
    ],
)
def test_a_host_that_lies_ends_its_session(answers: str, message: str) -> None:
    session = RootSession(Target("liar"), _Liar(answers))
    with pytest.raises(SessionLost, match=f"^liar: {message}"):
        session.run("echo x")


def test_a_host_cannot_send_more_than_was_asked_for() -> None:
    session = RootSession(Target("liar"), _Liar("0 999999999 0\\n1234567890"))
    assert session.run("echo x", limit=10).out == b"1234567890"


class _NoLogin:
    """A login shell that refuses, as `nologin` does."""

    def open(self, command: Sequence[str]) -> Wire:
        ours, child = spawn(["sh", "-c", "echo This account is currently not available.; exit 1"])
        return SocketWire(ours, lambda: reap(child))

    def close(self) -> None:
        """Nothing."""


def test_a_login_shell_that_runs_nothing_is_quoted() -> None:
    with pytest.raises(HostError, match=r"runs no command: it said 'This account is currently not available\.'"):
        RootSession(Target("gpu01"), _NoLogin())


def test_programs_pass_every_login_shell() -> None:
    text = portable("if a; then\n  b\nfi\ncase $x in\na) c;;\nesac\nd ${x##*.}")
    assert text == "'if a; then b; fi; case $x in a) c;; esac; d ${x##*.}'"


@pytest.mark.parametrize("program", ["echo 'x'", "echo hi!", "a\\\\b", "a\n# comment"])
def test_programs_that_some_login_shell_would_change_are_refused(program: str) -> None:
    with pytest.raises(ValueError, match="not portable"):
        portable(program)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("gpu01", become_method="doas"), "become_method is doas"),
        (Target("gpu01", become_user="ollama"), "become_user is ollama"),
    ],
)
def test_ways_to_root_that_are_not_served(target: Target, message: str) -> None:
    with pytest.raises(BecomeError, match=f"^gpu01: cannot become root: {message}"):
        RootSession(target, _NoLogin())


def test_a_shell_whose_connection_ends_while_a_script_runs_cleans_up_after_it(sandbox: Sandbox, tmp_path: Path) -> None:
    session = sandbox.session()
    session._shell._wire.send(b"r 35 1000 60\nsleep 0.5; head -c 100000 /dev/zero")
    until(lambda: any(tmp_path.glob("provision/s.*/c")), "the start of the script", 10)
    session._shell._wire.close()
    until(lambda: not any(tmp_path.glob("provision/s.*")), "the end of the shell", 10)


def test_scripts_get_the_usual_signals(session: RootSession) -> None:
    assert session.run("yes | head -n 1; trap").out == b"y\n"
