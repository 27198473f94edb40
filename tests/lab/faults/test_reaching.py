"""Hosts that cannot be reached: a clear line with the host's name, and the others go on."""

import re
import socket

from tests.lab.cli import Office
from tests.lab.hosts import LabHost


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_host_that_is_down_is_unreachable_and_the_others_go_on(office: Office, host: LabHost) -> None:
    office.variables["files"] = {"files": {"/srv/files/a": "one\n"}}
    office.hosts = {
        "down": {"ansible_host": "127.0.0.1", "ansible_port": closed_port(), "provision_roles": ["files"]},
        **office.hosts,
    }
    result = office.run("apply")
    assert result.rc == 4
    assert re.search(r"^down: .*127\.0\.0\.1.*", result.out, re.MULTILINE)
    assert re.search(r"^down +unreachable$", result.out, re.MULTILINE)
    assert re.search(rf"^{host.name}  1 changed", result.out, re.MULTILINE)
    assert host.check("cat /srv/files/a") == "one\n"


def test_a_name_that_does_not_resolve(office: Office, host: LabHost) -> None:
    office.hosts = {"nowhere.invalid": {"provision_roles": ["files"]}}
    result = office.run("plan")
    assert result.rc == 4
    assert "nowhere.invalid: " in result.out


def test_an_unknown_host_key_is_refused_with_the_way_out(office: Office, host: LabHost) -> None:
    office.known_hosts.write_text("")
    result = office.run("plan")
    assert result.rc == 4
    assert "SHA256:" in result.out
    assert f"provision trust {host.name}" in result.out
    assert office.known_hosts.read_text() == ""


def test_another_host_key_than_the_known_one_is_a_hard_stop(office: Office, host: LabHost) -> None:
    ours = host.check("ssh-keygen -q -t ed25519 -N '' -f /tmp/other && cat /tmp/other.pub && rm /tmp/other*").split()
    office.known_hosts.write_text(f"[127.0.0.1]:{host.port} {ours[0]} {ours[1]}\n")
    result = office.run("apply")
    assert result.rc == 4
    assert re.search(rf"^{host.name}: .*key.*", result.out, re.MULTILINE)
    assert "changed" in result.out or "other" in result.out


def test_a_login_that_is_refused(office: Office, host: LabHost) -> None:
    office.variables["ansible_user"] = "nobody-here"
    result = office.run("plan")
    assert result.rc == 4
    assert re.search(rf"^{host.name}: .*nobody-here", result.out, re.MULTILINE)


def test_a_system_that_cannot_be_served_is_refused_before_anything_is_touched(office: Office, host: LabHost) -> None:
    office.variables["files"] = {"files": {"/srv/files/a": "one\n"}}
    host.check("mkdir -p /etc/provision /opt/other/etc && echo /opt/other >/etc/provision/probe-root")
    host.put("/opt/other/etc/os-release", b'ID=gentoo\nVERSION_ID=2.17\nPRETTY_NAME="Gentoo Linux"\n')
    try:
        result = office.run("apply")
    finally:
        host.check("rm -r /etc/provision/probe-root /opt/other")
    assert result.rc == 1
    assert f"{host.name}: Gentoo Linux is not supported yet" in result.out
    assert host.exec("ls /srv/files").rc


def test_after_too_many_failures_no_more_hosts_are_begun(office: Office, host: LabHost) -> None:
    port = closed_port()
    bad = {"ansible_host": "127.0.0.1", "ansible_port": port, "provision_roles": ["files"]}
    office.hosts = {"bad1": bad, "bad2": bad, **office.hosts}
    office.variables["files"] = {"files": {"/srv/files/a": "one\n"}}
    result = office.run("apply", "--batch", "1", "--max-fail", "2")
    assert result.rc == 1
    assert re.search(rf"^{host.name} +skipped$", result.out, re.MULTILINE)
    assert host.exec("cat /srv/files/a").rc


def test_a_batch_of_which_every_host_failed_is_the_last_one(office: Office, host: LabHost) -> None:
    bad = {"ansible_host": "127.0.0.1", "ansible_port": closed_port(), "provision_roles": ["files"]}
    office.hosts = {"bad1": bad, **office.hosts}
    office.variables["files"] = {"files": {"/srv/files/a": "one\n"}}
    result = office.run("apply", "--batch", "1")
    assert result.rc == 1
    assert re.search(rf"^{host.name} +skipped$", result.out, re.MULTILINE)
    assert "1 changed" in office.run("apply", "--batch", "2").out
