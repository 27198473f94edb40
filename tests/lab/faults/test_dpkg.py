"""A host whose dpkg was left in the middle: one line says at which package and what to do, and doing that helps."""

import re

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost

DEB = """
set -e
mkdir -p /root/deb/DEBIAN
printf '%s\\n' 'Package: NAME' 'Version: 0.1' 'Architecture: all' 'Maintainer: lab' 'Description: breaks' \\
    >/root/deb/DEBIAN/control
printf '#!/bin/sh\\nBODY\\n' >/root/deb/DEBIAN/SCRIPT
chmod 755 /root/deb/DEBIAN/SCRIPT
dpkg-deb -b /root/deb /root/NAME.deb
rm -r /root/deb
dpkg -i /root/NAME.deb || true
dpkg-query -W -f='${db:Status-Status}' NAME
"""


def broken(host: LabHost, name: str, script: str, body: str) -> str:
    """Install a package whose maintainer script does this; gives the state in which it stays."""
    text = DEB.replace("NAME", name).replace("SCRIPT", script).replace("BODY", body)
    return host.check(text).splitlines()[-1]


@pytest.fixture
def wants_jq(office: Office, host: LabHost) -> Office:
    """A host with all that is declared, but jq."""
    office.hosts[host.name]["provision_roles"] = ["base"]
    office.variables["base"] = {"time": False}
    office.check("apply")
    host.check("dpkg --purge jq")
    office.variables["base"]["packages"] = ["jq"]
    return office


def refused(office: Office, host: LabHost, package: str) -> None:
    """An apply fails with one line that names the package."""
    ended = office.run("apply")
    assert ended.rc == 1
    why = f"dpkg was interrupted at {package}: on the host, dpkg --configure -a, then apt-get -f install"
    line = rf"^{host.name}: package:\S+\+jq: .*{re.escape(why)}"
    assert len(re.findall(line, ended.out, re.MULTILINE)) == 1, ended.out


def repaired(office: Office, host: LabHost) -> None:
    """What the line said was done: the next run converges."""
    host.check("dpkg --configure -a && apt-get -q -y -f install")
    office.check("apply")
    assert host.check("dpkg-query -W -f='${db:Status-Status}' jq") == "installed"
    assert "0 changed" in office.check("apply")
    assert host.check("dpkg --audit") == ""


def test_a_package_that_was_killed_while_it_was_unpacked(wants_jq: Office, host: LabHost) -> None:
    assert broken(host, "jq", "preinst", 'kill -9 "$PPID"; sleep 1') == "half-installed"
    refused(wants_jq, host, "jq")
    repaired(wants_jq, host)


def test_another_package_that_cannot_be_configured(wants_jq: Office, host: LabHost) -> None:
    host.check("touch /root/fails")
    assert broken(host, "office-tool", "postinst", "[ ! -e /root/fails ]") == "half-configured"
    refused(wants_jq, host, "office-tool")
    # Nothing of what was declared stays half-done.
    assert host.check("dpkg --audit | grep -c '^ '").strip() == "1"
    host.check("rm /root/fails")
    repaired(wants_jq, host)
