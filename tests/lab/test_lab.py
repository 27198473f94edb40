"""The lab itself: without these, no other test on hosts says anything."""

from collections.abc import Callable

import pytest

from tests.lab.hosts import LabHost


@pytest.mark.parametrize("suite", ["debian-12", "debian-13"])
def test_a_host_is_a_debian_with_systemd_and_without_python(hosts: Callable[..., LabHost], suite: str) -> None:
    host = hosts(suite=suite)
    assert host.wait_until_up() == "running", host.exec("systemctl --failed").out
    release = host.check(". /etc/os-release; echo $ID-$VERSION_ID")
    assert release.strip() == suite
    assert host.check("cat /proc/1/comm").strip() == "systemd"
    assert host.exec("ls /usr/bin/python3*").rc != 0


def test_openssh_logs_in_as_admin_who_becomes_root(host: LabHost) -> None:
    result = host.ssh("id -un; sudo -n id -un")
    assert (result.rc, result.out) == (0, "admin\nroot\n"), result.err


def test_a_reboot_is_a_new_boot_of_the_same_host(hosts: Callable[..., LabHost]) -> None:
    host = hosts()
    before, key = host.boot_id(), host.known_hosts
    host.put("/etc/lab-was-here", b"yes")
    host.reboot()
    assert host.boot_id() not in ("", before)
    assert host.known_hosts == key
    assert host.check("cat /etc/lab-was-here") == "yes"


def test_packages_of_the_roles_install_without_a_download(host: LabHost) -> None:
    out = host.check("apt-get install -y --no-install-recommends --no-download docker.io docker-cli iptables")
    assert "docker.io" in out
    assert host.check("docker version --format '{{.Server.Version}}'").strip()


def test_hosts_reach_each_other_by_address(host: LabHost, hosts: Callable[..., LabHost]) -> None:
    other = hosts()
    assert host.exec(f"ping -c 1 -W 5 {other.address}").rc == 0


VARIANTS = {
    "bare": "! command -v curl && ! command -v zstd",
    "sudo-password": "! su admin -c 'sudo -n true' && echo lab-sudo | su admin -c 'sudo -S true'",
    "su-only": "! command -v sudo && echo lab-root | su admin -c 'su -c true'",
    "max-sessions-1": "sshd -T | grep -qx 'maxsessions 1'",
}


@pytest.mark.parametrize(("variant", "condition"), VARIANTS.items())
def test_a_variant_differs_as_its_name_says(hosts: Callable[..., LabHost], variant: str, condition: str) -> None:
    hosts(variant=variant).check(condition)
