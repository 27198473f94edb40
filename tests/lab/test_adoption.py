"""A server that is there already, a model store that lies elsewhere: taken over with models, told in the plan."""

import re
from collections.abc import Iterator

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.registry import registry
from tests.lab.server import Server

# As install.sh writes it, with its blanks and the caller's PATH.
UNIT = """\
[Unit]
Description=Ollama Service
After=network-online.target

[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Restart=always
RestartSec=3
Environment="PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

[Install]
WantedBy=default.target
"""
# What install.sh does on a machine without a GPU; then the manual install of another version beside it.
INSTALLED = """\
set -e
useradd -r -s /bin/false -U -m -d /usr/share/ollama ollama
for group in render video; do getent group $group >/dev/null && usermod -a -G $group ollama; done
usermod -a -G ollama admin
tar -xzf /root/ollama.tgz -C /usr/local && cp -r /usr/local/lib/ollama /usr/lib/ollama
cp /usr/local/bin/ollama /usr/bin/ollama && rm /root/ollama.tgz
systemctl daemon-reload
systemctl enable ollama
systemctl restart ollama
"""
EVERY_OLLAMA = """for d in $(echo $PATH | tr : ' '); do ls $d/ollama 2>/dev/null; done; :"""


@pytest.fixture(scope="module")
def server(host: LabHost) -> Server:
    return Server(host)


@pytest.fixture(scope="module")
def office(server: Server, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A host on which install.sh was run with 0.9.3 and a model was pulled; 0.9.4 is declared."""
    host = server.host
    host.put("/root/ollama.tgz", lab.artifacts / "v0.9.3" / "ollama-linux-amd64.tgz")
    host.put("/etc/systemd/system/ollama.service", UNIT.encode())
    host.check(INSTALLED)
    server.wait()
    with registry() as models:
        name = models.add("library/tiny", lab.artifacts / "tiny.gguf")
        answer = server.post("pull", model=name, insecure=True, stream=False)
        assert answer == {"status": "success"}
    made = Office(tmp_path_factory.mktemp("office"))
    made.add(host, "gpu01", provision_roles=["ollama"], artifacts=str(lab.artifacts))
    made.variables["ollama"] = {"version": "0.9.4", "allow_vulnerable": True}
    yield made


def test_a_host_of_install_sh_is_adopted_with_its_models(office: Office, host: LabHost, server: Server) -> None:
    before = server.digests()
    assert len(before) == 1
    plan = office.check("plan")
    for line in (
        r"install  release:ollama  version 0\.9\.4; the file at /usr/local/bin/ollama becomes ollama\.before",
        r"remove   absent:/usr/bin/ollama  left by install\.sh; a second Ollama would answer instead$",
        r"remove   absent:/usr/local/lib/ollama  left by install\.sh",
        r"update   file:/etc/systemd/system/ollama\.service  content differs$",
        r"restart  service:ollama ",
    ):
        assert re.search(rf"^  . {line}", plan, re.MULTILINE), plan
    office.check("apply")
    assert server.digests() == before
    (name,) = before
    assert server.generate(name)["done"]
    assert server.get("version") == {"version": "0.9.4"}
    # Exactly one program, which is the one that runs.
    assert host.check(EVERY_OLLAMA).split() == ["/usr/local/bin/ollama"]
    running = host.check("readlink /proc/$(systemctl show -p MainPID --value ollama)/exe").strip()
    assert running == host.check("readlink -f /usr/local/bin/ollama").strip() == "/opt/ollama/0.9.4/bin/ollama"
    assert host.exec("ls -d /usr/lib/ollama /usr/local/lib/ollama").out == ""
    assert "0 changed" in office.check("apply")


def test_models_on_another_disk_below_a_closed_directory(
    office: Office, host: LabHost, server: Server, lab: Lab
) -> None:
    folder = "/srv/disks/second/models"
    host.check(
        "mkdir -p /srv/disks/second && chmod 0700 /srv/disks && mount -t tmpfs -o size=64m none /srv/disks/second"
    )
    office.hosts["gpu01"]["provision_roles"] = ["ollama", "models"]
    office.variables["ollama"]["models_dir"] = folder
    office.variables["models"] = {"elsewhere": {"gguf": str(lab.artifacts / "tiny.gguf")}}
    assert f"create   models-directory:{folder}  not there; ollama cannot pass /srv/disks\n" in office.check("plan")
    office.check("apply")
    assert host.check(f"stat -c '%U:%G %A' {folder} /srv/disks").split()[0] == "ollama:ollama"
    assert host.check("stat -c %a /srv/disks").strip() == "701"
    properties = host.check("systemctl show -p ReadWritePaths,RequiresMountsFor ollama")
    assert f"ReadWritePaths=/usr/share/ollama {folder}\n" in properties
    assert re.search(rf"^RequiresMountsFor=.*{folder}", properties, re.MULTILINE)
    # Only what is there is listed, and it works.
    assert server.names() == ["elsewhere:latest"]
    assert server.generate("elsewhere")["done"]
    assert host.check(f"find {folder}/blobs -type f -size +100k | wc -l").strip() == "1"
    assert "0 changed" in office.check("apply")
    # The parents are looked at each time.
    host.check("chmod 0700 /srv/disks")
    assert f"update   models-directory:{folder}  ollama cannot pass /srv/disks\n" in office.check("plan")
