"""Roles on stand-ins for other families: the family's os-release and its real package tools, on local repositories.

This proves the way packages take, not the distributions: the userland is Debian's.
"""

import io
import json
import re
import subprocess
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import images
from tests.lab.cli import Office
from tests.lab.families import office_of
from tests.lab.hosts import LabHost
from tests.lab.mirror import mirror, signed_certificate
from tests.lab.prepare import Lab
from tests.lab.wait import until

# What tells that packages came by the family's own tool.
INSTALLED = {"rocky": "rpm -q", "opensuse": "rpm -q", "arch": "pacman -Q"}
ENGINE = {"rocky": "docker-ce docker-ce-cli containerd.io", "opensuse": "docker", "arch": "docker"}
MANAGERS = {"rocky": "dnf", "opensuse": "zypper", "arch": "pacman"}
CLOCK = {"rocky": "chronyd", "opensuse": "chronyd", "arch": "systemd-timesyncd"}


@pytest.fixture(scope="module")
def offices(
    hosts: Callable[..., LabHost], lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[LabHost, Office]]:
    """A family's host and its inventory; made at the first call."""
    made: dict[str, tuple[LabHost, Office]] = {}

    def start(family: str) -> tuple[LabHost, Office]:
        if family not in made:
            host = hosts(suite=family)
            made[family] = (host, office_of(tmp_path_factory.mktemp(family), lab, host, family))
        return made[family]

    return start


@pytest.mark.parametrize("family", images.FAMILIES)
def test_apply_then_nothing_to_do_then_verified(offices: Callable[[str], tuple[LabHost, Office]], family: str) -> None:
    host, office = offices(family)
    applied = office.check("apply", timeout=600)
    assert re.search(rf"^{family}  \d+ changed  \d+ unchanged  ", applied, re.MULTILINE)
    assert re.search(rf"^{family}  0 changed  ", office.check("apply"), re.MULTILINE)
    names = f"{ENGINE[family]} nftables zstd jq"
    host.check(f"{INSTALLED[family]} {names}; cd /usr/share/lab-packages && ls {names}")
    assert host.exec("command -v apt-get dpkg").out == ""
    assert json.loads(host.check("cat /etc/docker/daemon.json"))["live-restore"] is True
    assert host.check("docker version --format '{{.Server.Version}}'").strip()
    assert host.check(f"systemctl is-enabled {CLOCK[family]}").strip() == "enabled"
    # The kernel still has the rules; the next boot would not.
    host.check("systemctl --quiet disable provision-firewall")
    assert f"{family}: load firewall:provision" in office.check("apply")
    assert host.check("systemctl is-enabled provision-firewall").strip() == "enabled"
    checks = {check: status for (_, check), (status, _) in office.verdicts().items()}
    assert "failed" not in checks.values()
    assert checks["packages"] == checks["generation tiny"] == checks["docker daemon"] == "passed"


@pytest.mark.parametrize("family", ["rocky", "opensuse"])
def test_the_familys_own_manager_counts_beside_another_one(
    offices: Callable[[str], tuple[LabHost, Office]], family: str
) -> None:
    """As on Fedora, where dpkg and apt can be installed. This one's dpkg knows all that Debian's image holds."""
    host, office = offices(family)
    host.check("cd /opt/hidden && cp -t /usr/bin apt-get dpkg dpkg-query $(ls pacman zypper dnf 2>/dev/null)")
    try:
        (facts,) = (found for found in office.events("facts") if found["host"] == family)
        assert facts["identity"]["package_manager"] == MANAGERS[family]
        assert facts["identity"]["docker_package"] == ENGINE[family].split()[0]
        assert re.search(rf"^{family}  0 changed  ", office.check("apply"), re.MULTILINE)
    finally:
        host.check("cd /opt/hidden && for tool in *; do rm -f /usr/bin/$tool; done")


@pytest.mark.parametrize("family", images.FAMILIES)
def test_a_server_that_the_offices_own_ca_signed_is_trusted(
    offices: Callable[[str], tuple[LabHost, Office]], family: str, tmp_path: Path
) -> None:
    host, office = offices(family)
    both, authority = signed_certificate(tmp_path)
    office.hosts[family]["provision_roles"] = ["base"]
    (office.folder / "office.crt").write_bytes(authority.read_bytes())
    with mirror(certificate=both) as served:
        served.files = {"/hello": b"from the office\n"}
        ask = f"curl -sS --noproxy '*' {served.url}/hello"
        assert host.exec(ask).rc == 60
        office.variables["base"] = {"packages": ["jq"], "ca_certificates": ["office.crt"]}
        assert f"{family}: trust ca:office" in office.check("apply")
        assert host.check(ask) == "from the office\n"
    assert re.search(rf"^{family}  0 changed  ", office.check("apply"), re.MULTILINE)


# What cannot be installed, and the line that says why.
REFUSED = {
    "rocky": {
        "nosuch": "No match for argument: nosuch",
        "podman-docker": "conflicts with docker-ce",
        # Another package provides it: dnf finds nothing to do.
        "system-release": "dnf ended without an error, but these are not installed: system-release",
    },
    "opensuse": {"nosuch": "'nosuch' not found", "podman-docker": "conflicts with 'docker'"},
    "arch": {"nosuch": "target not found: nosuch", "podman-docker": "are in conflict"},
}


@pytest.mark.parametrize("family", images.FAMILIES)
def test_what_cannot_be_installed_is_said_in_one_line(
    offices: Callable[[str], tuple[LabHost, Office]], family: str
) -> None:
    host, office = offices(family)
    office.hosts[family]["provision_roles"] = ["base"]
    for name, why in REFUSED[family].items():
        office.variables["base"] = {"packages": [name]}
        ended = office.run("apply")
        assert ended.rc == 1
        assert [line for line in ended.out.splitlines() if f"+{name}" in line and why in line], ended.out
        assert host.exec("docker ps").rc == 0


@dataclass(frozen=True)
class Holder:
    """Who holds a package manager's lock until it is answered.

    zypper and pacman are the real ones, waiting for a person. dnf 4 holds none then: a shell writes what dnf would.
    """

    command: str
    name: str
    held: str
    remove: str


DNF_LOCK = "/var/cache/dnf/metadata_lock.pid"
HOLDERS = {
    "rocky": Holder(f"echo $$ >{DNF_LOCK}; read answer; rm {DNF_LOCK}", "sh", f"[ -s {DNF_LOCK} ]", "rpm -e jq"),
    # Its file stays, empty, when nobody holds it.
    "opensuse": Holder("exec zypper shell", "zypper", "[ -s /run/zypp.pid ]", "rpm -e jq"),
    "arch": Holder("exec pacman -S jq", "pacman", "[ -e /var/lib/pacman/db.lck ]", "pacman -R --noconfirm jq"),
}


def waits_for_the_lock(host: LabHost, office: Office, family: str) -> None:
    """An apply names who holds the lock, and succeeds when it is let go."""
    holder = HOLDERS[family]
    words = ("docker", "exec", "-i", host.name, "sh", "-c", holder.command)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as held:
        try:
            until(lambda: host.exec(holder.held).rc == 0, "the lock")
            process = office.start("apply", "--json")
            no_longer = threading.Timer(60, process.kill)
            no_longer.start()
            assert process.stdout
            said = next((line for line in process.stdout if "Waiting for the lock" in line), "nothing")
            no_longer.cancel()
        finally:
            held.communicate("n\n", timeout=60)
    out, _ = process.communicate(timeout=120)
    assert re.search(rf"held by process \d+ \({holder.name}\)", said)
    assert process.returncode == 0, out


@pytest.mark.parametrize("family", images.FAMILIES)
def test_a_lock_that_is_held_is_waited_for_and_its_holder_named(
    offices: Callable[[str], tuple[LabHost, Office]], family: str
) -> None:
    host, office = offices(family)
    host.exec(HOLDERS[family].remove)
    # Where an administrator says so, zypper itself waits, and says nothing.
    host.check("mkdir -p /etc/zypp; printf '[main]\\nlock_timeout = -1\\n' >/etc/zypp/zypp.conf")
    office.hosts[family]["provision_roles"] = ["base"]
    office.variables["base"] = {"packages": ["jq"]}
    waits_for_the_lock(host, office, family)
    host.check(f"{INSTALLED[family]} jq")


SITE = "http://packages.office.invalid"
"""What only the proxy knows."""

SIGNED = """
set -e
export GNUPGHOME=/root/office-gnupg
mkdir -m 700 $GNUPGHOME
mkdir -p /srv/office /root/rpmbuild
gpg() { command gpg --batch --quiet --passphrase '' --pinentry-mode loopback "$@"; }
gpg --faked-system-time $(($(date +%s) - 2 * 86400)) --quick-generate-key 'Lab <lab@office.lan>' rsa2048 sign 1d
gpg --armor --export >/srv/office/gpg-expired
fingerprint=$(gpg --with-colons --list-keys | sed -n 's/^fpr:*\\([0-9A-F]*\\):/\\1/p')
gpg --quick-set-expire $fingerprint 0
gpg --armor --export >/srv/office/gpg
printf '%s\\n' 'Name: office-tool' 'Version: 1' 'Release: 1' 'Summary: of the office' 'License: MIT' \
    'BuildArch: noarch' 'AutoReqProv: no' '%description' 'Of the office.' '%files' >/root/office-tool.spec
rpmbuild -bb --quiet --define '_rpmdir /srv/office' --define '_build_name_fmt office-tool.rpm' /root/office-tool.spec
rpmsign --define '_gpg_name lab@office.lan' --addsign /srv/office/office-tool.rpm
createrepo_c -q /srv/office
gpgconf --kill all
echo "fingerprint=$fingerprint"
"""

NOT_THERE = {
    "rocky": "Status code: 404 for http://packages.office.invalid/repodata/repomd.xml",
    "opensuse": "http://packages.office.invalid/] Repository type can't be determined",
}

TOOL_ROLE = f'''"""A package from the office's own repository."""

from pydantic import BaseModel

from provision.resources.package import Package
from provision.resources.repository import Repository


class Settings(BaseModel):
    key: str
    fingerprint: str


def declare(host, want):
    manager = host.identity.package_manager
    key = f"{SITE}/{{want.key}}"
    proxy = "/etc/provision/proxy.env"
    repository = Repository(
        "office", "{SITE}", "", "", key, want.fingerprint, proxy_file=proxy, manager=manager
    )
    yield repository
    yield Package(("office-tool",), manager)
'''


def contents(host: LabHost, folder: str, *names: str) -> dict[str, bytes]:
    """Path below `SITE` -> content, of these files and folders of the host."""
    words = ("docker", "exec", host.name, "tar", "-C", folder, "-c", *names)
    ended = subprocess.run(words, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(ended.stdout)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {f"{SITE}/{name.removeprefix('./')}": file.read() for name, file in files.items() if file}


@pytest.mark.parametrize("family", ["rocky", "opensuse"])
def test_a_signed_repository_that_only_the_proxy_reaches(
    offices: Callable[[str], tuple[LabHost, Office]], family: str
) -> None:
    host, office = offices(family)
    fingerprint = host.check(SIGNED).split("fingerprint=")[1].strip()
    trusted = host.exec("rpm -q gpg-pubkey").out
    (office.folder / "roles" / "tool.py").write_text(TOOL_ROLE)
    office.hosts[family]["provision_roles"] = ["base", "tool"]
    with mirror() as proxy:
        proxy.files |= contents(host, "/srv/office", "gpg", "gpg-expired")
        office.variables["base"] = {"proxy": {"http": proxy.url}}
        refused = {
            "expected is " + "0" * 40 + ": ask its owner which is right": {"key": "gpg", "fingerprint": "0" * 40},
            "give the repository's current one": {"key": "gpg-expired", "fingerprint": fingerprint},
        }
        for why, key in refused.items():
            office.variables["tool"] = key
            ended = office.run("apply")
            assert ended.rc == 1
            assert [line for line in ended.out.splitlines() if f"{family}: repository:office: the key " in line]
            assert why in ended.out
            assert host.exec("ls /etc/*/repos.d/office.repo /etc/yum.repos.d/office.repo").out == ""
            assert host.exec("ls /etc/pki/rpm-gpg/provision-office.asc").rc
            assert host.exec("rpm -q gpg-pubkey").out == trusted

        office.variables["tool"] = {"key": "gpg", "fingerprint": fingerprint}
        ended = office.run("apply")
        assert ended.rc == 1
        assert re.search(rf"^{family}: repository:office: .*{re.escape(NOT_THERE[family])}", ended.out, re.MULTILINE), (
            ended.out
        )
        host.check("rm -f /etc/zypp/repos.d/office.repo /etc/yum.repos.d/office.repo")

        proxy.files |= contents(host, "/srv/office", ".")
        waits_for_the_lock(host, office, family)
        host.check("rpm -q office-tool")
        asked = {f"{SITE}/{name}" for name in ("gpg", "repodata/repomd.xml", "office-tool.rpm")}
        assert asked <= {path.replace("//./", "//") for path in proxy.asked}
        assert f"{family}  0 changed" in office.check("apply")

        # Its owner made the key last longer after this copy was taken.
        host.check("cp /srv/office/gpg-expired /etc/pki/rpm-gpg/provision-office.asc")
        assert "its keyring holds a key that expired" in office.check("plan")
        office.check("apply")
        assert f"{family}  0 changed" in office.check("apply")
    host.check("rm -f /etc/zypp/repos.d/office.repo /etc/yum.repos.d/office.repo")


def test_pacman_uses_the_proxy(offices: Callable[[str], tuple[LabHost, Office]]) -> None:
    host, office = offices("arch")
    office.hosts["arch"]["provision_roles"] = ["base"]
    office.variables["base"] = {}
    office.check("apply")
    host.exec("pacman -R --noconfirm jq; rm -f /var/cache/pacman/pkg/jq-*")
    host.check(f"sed -i 's|file:///srv/lab/pacman|{SITE}|' /etc/pacman.conf")
    (package,) = host.check("cd /srv/lab/pacman && ls jq-*").split()
    office.variables["base"] = {"packages": ["jq"]}
    assert "Could not resolve host: packages.office.invalid" in office.run("apply").out
    with mirror() as proxy:
        office.variables["base"] = {"packages": ["jq"], "proxy": {"http": proxy.url}}
        ended = office.run("apply")
        assert ended.rc == 1
        assert "the package databases are older than the mirror" in ended.out
        proxy.files |= contents(host, "/srv/lab/pacman", package)
        office.check("apply")
        assert f"{SITE}/{package}" in proxy.asked
    host.check("pacman -Q jq")
    host.check(f"sed -i 's|{SITE}|file:///srv/lab/pacman|' /etc/pacman.conf")


STREAMS = """\
---
document: modulemd
version: 2
data:
  name: driver
  stream: {stream}
  version: 1
  context: lab
  arch: x86_64
  summary: Of the lab
  description: Of the lab
  license: {{module: [MIT]}}
...
"""
STREAMED = """\
from pydantic import BaseModel

from provision.resources.module_stream import ModuleStream


class Settings(BaseModel):
    stream: str


def declare(host, want):
    yield ModuleStream("driver", want.stream)
"""


def test_the_stream_of_a_module_is_enabled(offices: Callable[[str], tuple[LabHost, Office]]) -> None:
    host, office = offices("rocky")
    modules = "".join(STREAMS.format(stream=stream) for stream in ("open", "closed"))
    host.put("/srv/lab/streams/modules.yaml", modules.encode())
    host.check("cd /srv/lab/streams && createrepo_c -q .")
    host.put("/etc/yum.repos.d/streams.repo", b"[streams]\nname=streams\nbaseurl=file:///srv/lab/streams\ngpgcheck=0\n")
    (office.folder / "roles" / "streamed.py").write_text(STREAMED)
    office.hosts["rocky"]["provision_roles"] = ["streamed"]
    office.variables["streamed"] = {"stream": "open"}
    assert "rocky: enable module-stream:driver" in office.check("apply")
    assert re.search(r"^driver +open \[e\]", host.check("dnf -q module list --enabled"), re.MULTILINE)
    assert re.search(r"^rocky  0 changed  ", office.check("apply"), re.MULTILINE)
    office.variables["streamed"] = {"stream": "closed"}
    refused = office.run("apply")
    assert refused.rc == 1
    assert "driver:open is enabled, closed is needed: dnf module reset driver, then apply" in refused.out
    host.check("dnf -q -y module reset driver")
    office.variables["streamed"] = {"stream": "nosuch"}
    assert re.search(r"rocky: .*nosuch", office.run("apply").out)
