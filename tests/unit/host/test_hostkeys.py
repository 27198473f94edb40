"""known_hosts: who is known, unknown, changed; compared with what ssh-keygen itself finds."""

import base64
import subprocess
from pathlib import Path

import pytest

from provision.host.hostkeys import KnownHosts, fingerprint, name_for

ED, RSA = b"\0\0\0\x0bssh-ed25519-one", b"\0\0\0\x07ssh-rsa-one"


def line(names: str, kind: str, blob: bytes, marker: str = "") -> str:
    return f"{marker} {names} {kind} {base64.b64encode(blob).decode()} comment\n".lstrip()


@pytest.mark.parametrize(
    ("text", "name", "word"),
    [
        ("", "gpu01", "unknown"),
        (line("gpu01", "ssh-ed25519", ED), "gpu01", "known"),
        (line("gpu01,10.0.0.1", "ssh-ed25519", ED), "10.0.0.1", "known"),
        (line("GPU01", "ssh-ed25519", ED), "gpu01", "known"),
        (line("gpu01", "ssh-ed25519", ED + b"x"), "gpu01", "changed"),
        (line("gpu01", "ssh-ed25519", ED + b"x") + line("gpu01", "ssh-ed25519", ED), "gpu01", "known"),
        (line("gpu01", "ssh-rsa", RSA), "gpu01", "unknown"),
        (line("gpu01", "ssh-ed25519", ED, "@revoked"), "gpu01", "revoked"),
        (line("*", "ssh-ed25519", ED, "@cert-authority"), "gpu01", "unknown"),
        (line("*.lan,!gpu02.lan", "ssh-ed25519", ED), "gpu01.lan", "known"),
        (line("*.lan,!gpu02.lan", "ssh-ed25519", ED), "gpu02.lan", "unknown"),
        (line("gpu0?", "ssh-ed25519", ED), "gpu01", "known"),
        (line("[gpu01]:2222", "ssh-ed25519", ED), "[gpu01]:2222", "known"),
        (line("[gpu01]:2222", "ssh-ed25519", ED), "gpu01", "unknown"),
        (line("gpu01", "ssh-ed25519", ED), "[gpu01]:2222", "unknown"),
        ("# gpu01 ssh-ed25519 AAAA\ngpu01 ssh-ed25519 %%%\ngpu01\n|1|x|y ssh-ed25519 AAAA\n", "gpu01", "unknown"),
    ],
)
def test_what_is_thought_of_an_offered_key(tmp_path: Path, text: str, name: str, word: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    assert KnownHosts(name, [tmp_path / "missing", file]).judge("ssh-ed25519", ED).word == word


def test_a_changed_key_names_the_line_that_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("# first\n" + line("gpu01", "ssh-ed25519", RSA))
    verdict = KnownHosts("gpu01", [file]).judge("ssh-ed25519", ED)
    assert [(other.where, fingerprint(other.blob)) for other in verdict.others] == [(f"{file}:2", fingerprint(RSA))]


def test_the_host_is_asked_for_the_types_that_are_known(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line("gpu01", "ssh-rsa", RSA) + line("gpu01", "ssh-ed25519", ED) + line("gpu01", "ssh-rsa", ED))
    assert KnownHosts("gpu01", [file]).kinds == ["ssh-rsa", "ssh-ed25519"]


@pytest.mark.parametrize("before", [None, "", "other ssh-ed25519 AAAA\n", "other ssh-ed25519 AAAA"])
@pytest.mark.parametrize("port", [22, 2222])
def test_an_added_key_is_found_by_ssh_keygen(tmp_path: Path, before: str | None, port: int) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    kind, blob, *_ = (tmp_path / "key.pub").read_text().split()
    file = tmp_path / "ssh" / "known_hosts"
    if before is not None:
        file.parent.mkdir()
        file.write_text(before)
    name = name_for("GPU01.lan", port)
    assert KnownHosts(name, [file]).add(kind, base64.b64decode(blob)) == file
    found = subprocess.run(["ssh-keygen", "-l", "-F", name, "-f", file], capture_output=True, text=True, check=True)
    assert fingerprint(base64.b64decode(blob)) in found.stdout
    assert KnownHosts(name, [file]).judge(kind, base64.b64decode(blob)).word == "known"
    if before is None:
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    else:
        assert file.read_text().startswith("other ssh-ed25519 AAAA\n" if before else name)


def test_hashed_lines_are_read(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    kind, blob, *_ = (tmp_path / "key.pub").read_text().split()
    file = tmp_path / "known_hosts"
    file.write_text(f"[gpu01]:2222 {kind} {blob}\ngpu02 {kind} {blob}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], capture_output=True, check=True)
    assert "gpu01" not in file.read_text()
    for name, word in (("[gpu01]:2222", "known"), ("gpu02", "known"), ("gpu01", "unknown")):
        assert KnownHosts(name, [file]).judge(kind, base64.b64decode(blob)).word == word
