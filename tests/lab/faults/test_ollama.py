"""What can go wrong with a release and its service: the old version keeps running, then a second run converges."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.blocking import killed_at
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.mirror import Mirror, expired_certificate, mirror
from tests.lab.prepare import Lab
from tests.lab.wait import until

ARCHIVE = "ollama-linux-amd64.tgz"


@pytest.fixture(scope="module")
def office(host: LabHost, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A host with Ollama 0.9.3 at work."""
    made = Office(tmp_path_factory.mktemp("office"))
    made.add(host, provision_roles=["ollama"], artifacts=str(lab.artifacts))
    use(made, "0.9.3")
    made.check("apply")
    return made


def use(office: Office, version: str, **settings: object) -> None:
    office.variables["ollama"] = {"version": version, "allow_vulnerable": True, **settings}


def works(host: LabHost, version: str) -> None:
    """The server that answers is of this version, and nothing else is in /opt/ollama."""
    assert f'"{version}"' in host.check("curl -sS http://127.0.0.1:11434/api/version")
    assert host.check("readlink /usr/local/bin/ollama").strip() == f"/opt/ollama/{version}/bin/ollama"


@pytest.fixture
def served(office: Office, host: LabHost, lab: Lab) -> Iterator[Mirror]:
    """A mirror with 0.9.4, used instead of the artefacts; afterwards 0.9.3 works again."""
    folder = lab.artifacts / "v0.9.4"
    del office.hosts[host.name]["artifacts"]
    with mirror() as made:
        made.files = {f"/v0.9.4/{name}": folder / name for name in (ARCHIVE, "sha256sum.txt")}
        yield made
    office.hosts[host.name]["artifacts"] = str(lab.artifacts)
    use(office, "0.9.3")
    office.check("apply")
    host.check("rm -rf /opt/ollama/0.9.4")


def corrupt(content: bytes) -> bytes:
    return content[:-1000] + bytes(1000)


def refused(office: Office, host: LabHost, says: str) -> None:
    """The apply fails with one line, the old server goes on, and nothing half-made is left."""
    result = office.run("apply")
    assert result.rc == 1
    assert re.search(rf"^{host.name}: release:ollama: .*{says}", result.out, re.MULTILINE), result.out
    works(host, "0.9.3")
    assert host.check("ls -A /opt/ollama").split() == ["0.9.3"]


def test_a_corrupt_download(office: Office, host: LabHost, served: Mirror, lab: Lab) -> None:
    use(office, "0.9.4", mirror=served.url)
    whole = served.files[f"/v0.9.4/{ARCHIVE}"]
    assert isinstance(whole, Path)
    served.files[f"/v0.9.4/{ARCHIVE}"] = corrupt(whole.read_bytes())
    refused(office, host, "the download has the SHA-256 [0-9a-f]{64}, expected is [0-9a-f]{64}")
    served.files[f"/v0.9.4/{ARCHIVE}"] = whole
    office.check("apply")
    works(host, "0.9.4")
    assert "0 changed" in office.check("apply")


def test_another_digest_than_the_declared_one(office: Office, host: LabHost, served: Mirror) -> None:
    use(office, "0.9.4", mirror=served.url, sha256={ARCHIVE: "0" * 64})
    refused(office, host, "expected is 0{64}")


def test_a_release_that_is_not_there(office: Office, host: LabHost, served: Mirror) -> None:
    served.files.clear()
    use(office, "0.9.4", mirror=served.url, sha256={ARCHIVE: "0" * 64})
    refused(office, host, "cannot download .*/v0.9.4/")


def test_an_archive_that_is_neither_here_nor_there(
    office: Office, host: LabHost, served: Mirror, tmp_path: Path
) -> None:
    office.hosts[host.name]["artifacts"] = str(tmp_path)
    use(office, "0.9.4")
    host.check("cp /etc/hosts /etc/hosts.was; echo 127.0.0.1 github.com >>/etc/hosts")
    try:
        assert f"; not in {tmp_path}, so the host downloads it" in office.check("plan")
        url = "https://github.com/ollama/ollama/releases/download/v0.9.4/sha256sum.txt"
        refused(office, host, rf"cannot download {url}: curl: .*; there is no {ARCHIVE} in {tmp_path} either")
    finally:
        host.check("mv /etc/hosts.was /etc/hosts")


def test_an_archive_that_nothing_vouches_for(
    office: Office, host: LabHost, served: Mirror, lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "v0.9.4").mkdir()
    (tmp_path / "v0.9.4" / ARCHIVE).symlink_to(lab.artifacts / "v0.9.4" / ARCHIVE)
    office.hosts[host.name]["artifacts"] = str(tmp_path)
    use(office, "0.9.4")
    result = office.run("apply")
    assert result.rc == 3
    assert "there is no sha256sum.txt beside it; put the release's list there, or say ollama.sha256" in result.out
    assert len(result.out.splitlines()) == 2
    works(host, "0.9.3")


def test_an_expired_certificate(office: Office, host: LabHost, served: Mirror, tmp_path: Path) -> None:
    both, alone = expired_certificate(tmp_path)
    host.put("/usr/local/share/ca-certificates/office.crt", alone)
    host.check("update-ca-certificates")
    with mirror(both) as secure:
        use(office, "0.9.4", mirror=secure.url, sha256={ARCHIVE: "0" * 64})
        refused(office, host, "expired")


def test_a_port_that_is_taken(office: Office, host: LabHost) -> None:
    use(office, "0.9.3", port=8765)
    # `nc` of systemd-free hosts is missing: systemd itself can listen.
    listen = "systemd-socket-activate --accept -l 127.0.0.1:8765 /bin/true"
    host.check(f"systemd-run --unit=squatter {listen}")
    until(lambda: "8765" in host.check("ss -ltn"), "the port")
    try:
        result = office.run("apply")
        assert result.rc == 1
        assert re.search(rf"^{host.name}: service:ollama: .*address already in use", result.out, re.MULTILINE)
    finally:
        host.check("systemctl stop squatter")
    office.check("apply")
    assert "0.9.3" in host.check("curl -sS http://127.0.0.1:8765/api/version")
    use(office, "0.9.3")
    office.check("apply")


ENVIRON = "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value ollama)/environ"


def test_killed_between_the_drop_in_and_the_restart_the_next_run_restarts(office: Office, host: LabHost) -> None:
    use(office, "0.9.3", environment={"OLLAMA_KEEP_ALIVE": "31m"})
    killed_at(office, host, "systemctl", "restart ollama.service")
    assert "OLLAMA_KEEP_ALIVE=31m" in host.check("cat /etc/systemd/system/ollama.service.d/zz-provision.conf")
    assert "OLLAMA_KEEP_ALIVE=31m" not in host.check(ENVIRON)
    assert re.search(r"restart +service:ollama +it runs with older settings", office.check("plan"))
    office.check("apply")
    assert "OLLAMA_KEEP_ALIVE=31m" in host.check(ENVIRON)
    assert "0 changed" in office.check("apply")


def test_after_one_variable_changed_the_plan_is_one_diff_and_one_restart(office: Office, host: LabHost) -> None:
    use(office, "0.9.3", environment={"OLLAMA_KEEP_ALIVE": "10m"})
    office.check("apply")
    use(office, "0.9.3", environment={"OLLAMA_KEEP_ALIVE": "11m"})
    text = office.check("plan", "--diff")
    assert re.findall(r"^  . (\w+) +(\S+)", text, re.MULTILINE) == [
        ("update", "file:/etc/systemd/system/ollama.service.d/zz-provision.conf"),
        ("restart", "service:ollama"),
        ("wait", "endpoint:http://127.0.0.1:11434/api/version"),
    ]
    assert re.findall(r"^ +[-+]Environment=\"OLLAMA.*$", text, re.MULTILINE) == [
        '      -Environment="OLLAMA_KEEP_ALIVE=10m"',
        '      +Environment="OLLAMA_KEEP_ALIVE=11m"',
    ]
    office.check("apply")
    assert "OLLAMA_KEEP_ALIVE=11m" in host.check(ENVIRON)


def test_an_old_server_is_refused_without_saying_so(office: Office, host: LabHost) -> None:
    office.variables["ollama"] = {"version": "0.9.3"}
    result = office.run("plan")
    assert result.rc == 3
    assert "CVE-2026-7482" in result.out + result.err
