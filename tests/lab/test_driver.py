"""The NVIDIA driver on a host that pretends one GPU after another: packages, repository and reboots are real."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.errors import HostRefused, SessionLost
from tests.lab.cli import Office
from tests.lab.driver import NEWER, OLD, VERSION, pretend, repository
from tests.lab.hosts import LabHost
from tests.lab.mirror import Mirror, mirror
from tests.lab.reached import Desk
from tests.lab.toolkit import toolkit

PACKAGES = "nvidia-driver-cuda nvidia-kernel-open-dkms nvidia-persistenced"


@pytest.fixture(scope="module")
def served() -> Iterator[Mirror]:
    """A web server."""
    with mirror() as running:
        yield running


@pytest.fixture(scope="module")
def office(host: LabHost, served: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """The host's inventory: drivers and the toolkit come from the mirror."""
    host.check("apt-get install -qq -y --no-install-recommends gpg")
    drivers, packages = repository(tmp_path_factory.mktemp("d")), toolkit(tmp_path_factory.mktemp("t"))
    served.files |= packages.files
    for path in ("", "./"):
        served.files |= drivers.files(f"/cuda/debian13/x86_64{'/.' if path else ''}")
    made = Office(tmp_path_factory.mktemp("office"))
    made.add(host, "gpu01", provision_roles=["nvidia"])
    made.variables["nvidia"] = {
        "driver_repository": f"{served.url}/cuda",
        "driver_key": str(drivers.folder / "gpg"),
        "driver_fingerprint": drivers.fingerprint,
        **packages.settings(served.url),
    }
    return made


def say(office: Office, **nvidia: Any) -> None:
    """Settings of the role, for the next run."""
    office.hosts["gpu01"]["nvidia"] = nvidia


def versions(host: LabHost, names: str = PACKAGES) -> str:
    """Versions of these packages, with nothing for one that is not installed."""
    return host.exec(f"dpkg-query -W -f='${{Version}} ' {names} 2>/dev/null").out.strip()


def changed(said: str) -> int:
    """How many resources a run changed."""
    found = re.search(r"^gpu01  (\d+) changed  ", said, re.MULTILINE)
    assert found, said
    return int(found[1])


def facts(office: Office) -> dict[str, Any]:
    """The host's identity."""
    found: dict[str, Any] = json.loads(office.check("facts", "--json"))["identity"]
    return found


def test_a_driver_that_needs_no_reboot_and_what_needs_it_come_with_one_apply(host: LabHost, office: Office) -> None:
    pretend(host, "nvidia-no-driver")
    say(office)
    assert "container" not in facts(office)["marks"]
    before = host.boot_id()
    applied = office.check("apply")
    assert [applied.index(f"gpu01: {text}") for text in ("load driver:nvidia", "generate cdi:nvidia")]
    # The newer branch of the repository is refused by our pin; 580 is not the newest.
    assert versions(host) == " ".join([f"{VERSION}-1"] * 3)
    assert NEWER in host.check("apt-cache policy nvidia-driver-cuda")
    assert facts(office)["nvidia_own"] == "580 open"
    assert host.check("systemctl is-active nvidia-persistenced").strip() == "active"
    assert host.boot_id() == before
    assert changed(office.check("apply")) == 0
    # What was installed stays declared now that it works.
    assert "no longer declared" not in office.check("plan")


def test_a_driver_of_others_is_left_alone(host: LabHost, office: Office) -> None:
    pretend(host, "nvidia-rtx-4090")
    say(office)
    assert not [change for change in plan(office) if "driver" in change or "package:nvidia-driver" in change]
    assert (facts(office)["nvidia_smi"], facts(office)["nvidia_own"]) == (VERSION, "")


def plan(office: Office) -> list[str]:
    """`install package:...` for each change that is planned."""
    (event,) = (event for event in office.events("plan") if event["event"] == "host-planned")
    return [f"{change['action']} {change['resource']}" for change in event["changes"]]


def test_what_is_refused_is_refused_before_anything_is_installed(
    host: LabHost, office: Office, served: Mirror, tmp_path: Path
) -> None:
    secure_boot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    pretend(host, "nvidia-no-driver", {secure_boot: "\x06\x00\x00\x00\x01"})
    say(office)
    failed = office.run("apply")
    assert failed.rc == 1
    assert "gpu01: driver:nvidia: Secure Boot is on and would refuse the modules" in failed.out

    pretend(host, "nvidia-no-driver")
    host.check("mkdir -p /lib/modules; mount -t tmpfs -o size=1m tmpfs /lib/modules")
    try:
        failed = office.run("apply")
    finally:
        host.check("umount /lib/modules")
    assert failed.rc == 1
    assert "no room for a driver in /lib/modules: 209.7 MB are needed, 1.0 MB are free" in failed.out
    assert versions(host) == ""
    assert host.exec("ls /etc/provision/nvidia-driver /etc/apt/sources.list.d/nvidia-driver.sources").rc

    # A key that its owner has made last longer since: apt would only say that the repository is not signed.
    expired = repository(tmp_path, expired=True)
    for path in ("", "/."):
        served.files |= expired.files(f"/expired/debian13/x86_64{path}")
    key = {"driver_key": str(expired.folder / "gpg"), "driver_fingerprint": expired.fingerprint}
    say(office, driver_repository=f"{served.url}/expired", **key)
    failed = office.run("apply")
    assert failed.rc == 1
    (line,) = (
        line for line in failed.out.splitlines() if "repository:nvidia-driver: " in line and "not begun" not in line
    )
    assert "repository:nvidia-driver: the key expired on 20" in line
    assert versions(host) == ""


def test_a_module_that_does_not_load_says_why(host: LabHost, office: Office) -> None:
    pretend(host, "nvidia-no-driver")
    say(office)
    why = "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service"
    host.check(f"echo {shlex.quote(why)} >/etc/lab-modprobe-fails")
    failed = office.run("apply")
    assert failed.rc == 1
    assert "gpu01: driver:nvidia: Secure Boot refuses the module: enrol its key at the console" in failed.out


def test_one_that_is_too_old_is_told_and_replaced_when_that_is_said(
    host: LabHost, office: Office, served: Mirror
) -> None:
    pretend(host, "nvidia-old-driver")
    host.check(f"sed -i s/470.256.02/{OLD}/ $(grep -rl 470.256.02 /twin/gpu)")
    for name in (f"nvidia-tesla-{part}_{OLD}-1~deb12u1_all.deb" for part in ("kernel", "smi")):
        host.put(f"/root/{name}", served.files[f"/cuda/debian13/x86_64/{name}"])
    host.check("dpkg -i /root/nvidia-tesla-*.deb")
    say(office)
    told = office.check("apply")
    assert f"the NVIDIA driver {OLD} is too old, 570 is needed" in told
    assert versions(host) == ""

    say(office, driver="replace", reboot="if-needed")
    before = host.boot_id()
    applied = office.check("apply")
    assert f"gpu01: remove old-driver:{OLD}" in applied
    assert "gpu01: reboot driver:nvidia" in applied
    assert host.boot_id() != before
    # A GTX 1080 has proprietary modules only.
    assert versions(host, "nvidia-driver-cuda nvidia-kernel-dkms") == f"{VERSION}-1 {VERSION}-1"
    assert versions(host, "nvidia-tesla-smi") == ""
    assert facts(office)["nvidia_driver"] == VERSION
    assert changed(office.check("apply")) == 0


def test_a_driver_upgraded_without_a_reboot_waits_for_one_until_it_is_allowed(host: LabHost, office: Office) -> None:
    pretend(host, "nvidia-mismatch")
    host.put("/usr/lib/lab-nvidia/version", b"570.158\n")
    host.put("/usr/local/sbin/modinfo", b"#!/bin/sh\ncat /usr/lib/lab-nvidia/version\n", 0o755)
    say(office)
    told = office.check("apply")
    assert "the NVIDIA driver waits for a reboot: 570.133.20 is loaded, 570.158 is installed" in told
    assert changed(told) == 0
    assert "waits for a reboot" in office.check("plan")


def test_nouveau_goes_by_a_reboot_after_which_the_run_goes_on(host: LabHost, office: Office) -> None:
    pretend(host, "nvidia-nouveau")
    office.hosts["gpu01"]["provision_roles"] = ["docker", "nvidia"]
    say(office)
    told = office.check("apply")
    assert f"waits for a reboot: nouveau drives the GPU, {VERSION} is installed" in told
    # What does not depend on it was done, what does was not begun.
    assert host.check("systemctl is-active docker").strip() == "active"
    assert "cdi:nvidia" not in told

    say(office, reboot="if-needed")
    before = host.boot_id()
    events = office.events("apply")
    assert host.boot_id() != before
    done = [f"{event['action']} {event['resource']}" for event in events if event["event"] == "change-finished"]
    assert done[0] == "reboot driver:nvidia"
    assert {"generate cdi:nvidia", "create repository:nvidia-container-toolkit"} <= set(done)
    assert [event["status"] for event in events if event["event"] == "host-finished"] == ["changed"]
    assert json.loads(host.check("docker info --format '{{json .CDISpecDirs}}'"))
    assert changed(office.check("apply")) == 0


def test_a_session_goes_on_after_a_reboot_with_its_lock(host: LabHost, tmp_path: Path) -> None:
    desk = Desk.at(tmp_path).knows(host)
    said: list[str] = []
    with desk.session(host) as session, desk.session(host) as late:
        session.lock("the first")
        before = host.boot_id()
        session.reboot(said.append)
        assert session.run("cat /proc/sys/kernel/random/boot_id").text.strip() == host.boot_id() != before
        assert said[-1] == "waiting for the host's services"
        with pytest.raises(SessionLost):
            late.run("true")
        with desk.session(host) as other, pytest.raises(HostRefused, match="another run holds the lock: the first"):
            other.lock("the second")
