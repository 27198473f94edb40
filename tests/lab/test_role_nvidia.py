"""The roles docker and nvidia on a fresh host with a pretended GPU: NVIDIA's programs are stand-ins, Docker is real."""

import json
import re
from pathlib import Path

import pytest

from provision.twin.gpus import overlay
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.mirror import mirror
from tests.lab.rootfs import rootfs
from tests.lab.toolkit import toolkit

DRIVER = "580.95.05"


def test_docker_offers_the_gpus_after_one_apply(
    host: LabHost, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host.container.put_archive("/", overlay("nvidia-rtx-4090"))
    host.check("apt-get install -qq -y --no-install-recommends gpg")
    host.put("/etc/docker/daemon.json", b'{"features": {"buildkit": true}}')
    office = Office(tmp_path)
    office.add(host, "gpu01", provision_roles=["docker", "nvidia"])
    packages = toolkit(tmp_path_factory.mktemp("t"))
    # One of the four is there from earlier, and its list, as NVIDIA's instructions have it.
    old = toolkit(tmp_path_factory.mktemp("o"), "1.17.8-1").files
    name = next(name for name in old if "/nvidia-container-toolkit-base" in name)
    host.put("/root/old.deb", old[name])
    host.check("dpkg -i /root/old.deb")
    with mirror() as served:
        served.files |= packages.files
        office.variables["nvidia"] = packages.settings(served.url)
        older = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
        host.put(older, f"deb [signed-by=/usr/share/keyrings/n.gpg] {served.url}/deb/$(ARCH) /\n".encode())
        applied = office.check("apply")
        assert host.exec(f"test -e {older}").rc == 1
        assert (
            host.check("dpkg-query -W -f '${Version} ' 'nvidia-container-*' 'libnvidia-container*'") == 4 * "1.20.0-1 "
        )
        host.check("dpkg -i /root/old.deb 2>&1")
        assert "1.17.8-1 is installed, 1.18 is needed" in office.check("plan")
        assert "service:docker/nvidia" not in applied
        assert "nvidia" not in json.loads(host.check("docker info --format '{{json .Runtimes}}'"))
        office.variables["nvidia"]["runtime"] = True
        applied = office.check("apply")
        assert host.check("dpkg-query -W -f '${Version}' nvidia-container-toolkit-base") == "1.20.0-1"
    assert "gpu01: reload service:docker/nvidia" in applied, applied
    engine = host.check("systemctl show --value -p MainPID docker")
    assert re.search(r"^gpu01  0 changed  ", office.check("apply"), re.MULTILINE)
    verified = office.verdicts()
    assert "failed" not in {status for status, _ in verified.values()}
    assert verified["gpu01", "docker daemon"][0] == "passed"

    assert json.loads(host.check("cat /etc/docker/daemon.json")) == {
        "features": {"buildkit": True, "cdi": True},
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}},
    }
    info = json.loads(host.check("docker info --format '{{json .}}'"))
    assert "nvidia" in info["Runtimes"]
    assert info["CDISpecDirs"] == ["/etc/cdi", "/var/run/cdi"]
    host.put("/root/tiny.tar", rootfs("1"))
    host.check("docker import /root/tiny.tar tiny:1")
    assert f"TWIN_GPU_DRIVER={DRIVER}" in host.check("docker run --rm --device nvidia.com/gpu=all tiny:1 env")
    assert host.check("docker run --rm --runtime nvidia tiny:1 cat /mark") == "1"

    # Another driver makes another specification, and nothing else; without the runtime nothing is claimed.
    host.check(f"sed -i s/{DRIVER}/590.1/ /etc/cdi/nvidia.yaml")
    assert re.search(r"^gpu01  1 changed  ", office.check("apply"), re.MULTILINE)
    assert host.check("systemctl show --value -p MainPID docker") == engine
    host.check("""echo '{"features": {"cdi": false}}' >/etc/docker/daemon.json; systemctl restart docker""")
    assert "no runtime nvidia" in office.verdicts()["gpu01", "docker daemon"][1]
    assert "prove" in office.run("plan").out
