"""Hosts with GPUs of AMD and Intel, a Jetson, a DGX and WSL 2, one after the other on one host that pretends them.

Apply, a second one that changes nothing, and a verify that tells the truth: the lab's Ollama computes on the processor,
so a model is on none of these GPUs, and that must be said with causes that fit the GPU. No real GPU was at hand.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.twin.gpus import PROFILES, Entry, Profile
from tests.lab import accelerated
from tests.lab.accelerated import VERSION, artifacts
from tests.lab.cli import Office
from tests.lab.driver import pretend
from tests.lab.hosts import LabHost
from tests.lab.mirror import mirror
from tests.lab.toolkit import toolkit

ROLES = ["nvidia", "ollama", "models"]
UNIT = "/etc/systemd/system/ollama.service"
LIBRARIES = f"/opt/ollama/{VERSION}/lib/ollama"
# A group that has no name here: in a container device files belong to numbers of its host.
FOREIGN = 3104
_NEW = f"""\
systemctl disable -q --now ollama 2>/dev/null
rm -rf /opt/ollama /usr/local/bin/ollama {UNIT} {UNIT}.d /dev/kfd /dev/dri /usr/lib/wsl
systemctl daemon-reload
"""
_RESTART = "systemctl daemon-reload; systemctl restart ollama; until curl -sf 127.0.0.1:11434; do sleep 0.1; done"


@dataclass
class Place:
    """The host, and its inventory."""

    host: LabHost
    office: Office

    def becomes(
        self,
        profile: Profile,
        nodes: Mapping[str, str | int] | None = None,
        files: Mapping[str, str | Entry] | None = None,
    ) -> None:
        """Another host: without Ollama but for its models.

        Args:
            profile: its GPUs.
            nodes: device files below /dev -> their group.
            files: more of what stands over `/` for the probe.
        """
        self.host.exec(_NEW)
        pretend(self.host, profile, files)
        for name, group in (nodes or {}).items():
            node = f"/dev/{name}"
            self.host.check(f"mkdir -p $(dirname {node}); mknod -m 660 {node} c 1 3; chgrp {group} {node}")
        self.says()

    def says(self, **environment: str) -> None:
        """Variables of the server, for the next run."""
        self.office.hosts["gpu01"]["ollama"] = {"environment": environment}

    def facts(self) -> dict[str, Any]:
        """The host's identity."""
        found: dict[str, Any] = json.loads(self.office.check("facts", "--json"))["identity"]
        return found

    def converges(self) -> str:
        """Apply, then nothing is left to do; what the first run said."""
        said = self.office.check("apply")
        assert re.search(r"^gpu01  0 changed  ", self.office.check("apply"), re.MULTILINE)
        return said

    def verify(self) -> dict[str, str]:
        """Check -> message, of those that did not pass."""
        found = self.office.verdicts()
        assert {("gpu01", "ollama version"), ("gpu01", "generation tiny")} <= found.keys()
        return {check: message for (_, check), (status, message) in found.items() if status != "passed"}

    def environment(self) -> dict[str, str]:
        """Of the server's process."""
        text = self.host.check("tr '\\0' '\\n' </proc/$(systemctl show --value -p MainPID ollama)/environ")
        return dict(line.partition("=")[::2] for line in text.splitlines())

    def groups(self) -> set[int]:
        """Of the server's process."""
        line = self.host.check("grep ^Groups: /proc/$(systemctl show --value -p MainPID ollama)/status")
        return {int(word) for word in line.split()[1:]}

    def number(self, group: str) -> int:
        """Of a group."""
        return int(self.host.check(f"getent group {group}").split(":")[2])

    def beside(self) -> str:
        """The archives that were unpacked over the base."""
        return self.host.check(f"sed -n '2,$s/.* //p' /opt/ollama/{VERSION}/.provision-release").strip()

    def libraries(self) -> str:
        """The directories of `lib/ollama`."""
        return self.host.check(f"cd {LIBRARIES} && find . -mindepth 1 -type d | cut -c 3-").strip()

    def drivers(self) -> str:
        """Packages and files of a driver."""
        asked = (
            "dpkg-query -W -f='${Package} ' '*nvidia-driver*' '*nvidia-kernel*' '*rocm*' 'amdgpu-dkms' 'linux-headers*'"
        )
        marks = (
            "ls -d /etc/provision/nvidia-driver /etc/apt/sources.list.d/nvidia-driver* /etc/modules-load.d/provision*"
        )
        return self.host.exec(f"{asked} 2>/dev/null; {marks} 2>/dev/null").out


@pytest.fixture(scope="module")
def place(host: LabHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The host with NVIDIA's toolkit at hand."""
    # On a server udev makes the group.
    host.check("apt-get install -qq -y --no-install-recommends gpg && groupadd --system render")
    office, packages = Office(tmp_path_factory.mktemp("office")), toolkit(tmp_path_factory.mktemp("t"))
    folder = artifacts(tmp_path_factory.mktemp("artifacts"))
    office.add(host, "gpu01", provision_roles=ROLES, artifacts=str(folder))
    with mirror() as served:
        served.files |= packages.files
        office.variables["nvidia"] = packages.settings(served.url)
        office.variables["ollama"] = {"version": VERSION, "allow_vulnerable": True}
        office.variables["models"] = {"tiny": {"gguf": str(folder / "tiny.gguf")}}
        yield Place(host, office)


def test_an_mi300_whose_device_files_belong_to_a_group_without_a_name(place: Place) -> None:
    place.becomes(accelerated.MI300X, {"kfd": FOREIGN, "dri/renderD128": FOREIGN})
    found = place.facts()
    assert (found["gpus"][0]["target"], found["amd_kfd"], found["gpu_groups"]) == ("gfx942", True, [FOREIGN])
    place.converges()
    assert place.beside() == "ollama-linux-amd64-rocm.tgz"
    assert place.libraries() == "rocm_v7_2"
    assert place.drivers() == ""
    assert place.number(f"gpu{FOREIGN}") == FOREIGN
    assert f"SupplementaryGroups=render video {FOREIGN}" in place.host.check(f"cat {UNIT}").splitlines()
    assert place.groups() >= {FOREIGN, place.number("render"), place.number("video")}
    assert "HSA_OVERRIDE_GFX_VERSION" not in place.environment()

    # The server computes on the processor: nothing but that is wrong, and that is said.
    failed = place.verify()
    assert set(failed) == {"generation tiny"}
    assert "are on the CPU although the GPU is usable (AMD Instinct MI300X OAM, by ROCm)" in failed["generation tiny"]
    assert "its process may open /dev/kfd, /dev/dri/renderD128" in failed["generation tiny"]
    assert "lib/ollama has rocm_v7_2" in failed["generation tiny"]
    assert "the GPU's target: gfx942; at its start it found cpu" in failed["generation tiny"]

    # Without the group, and without the archive: each is found, and leads the causes of the other check.
    place.host.check(f"sed -i 's/^\\(SupplementaryGroups=.*\\) {FOREIGN}$/\\1/' {UNIT}; {_RESTART}")
    failed = place.verify()
    closed = f"its process may not open /dev/kfd, of the group {FOREIGN} (gpu{FOREIGN}) with mode 0660"
    assert set(failed) == {"drift", "files", "gpu devices", "generation tiny"}
    assert closed in failed["gpu devices"]
    assert f"(1) the GPU's device files: {closed}" in failed["generation tiny"]
    place.office.check("apply")
    assert set(place.verify()) == {"generation tiny"}
    place.host.check(f"mv {LIBRARIES}/rocm_v7_2 /root/")
    failed = place.verify()
    assert set(failed) == {"gpu libraries", "generation tiny"}
    assert "has no rocm*: its GPU is not used" in failed["gpu libraries"]
    assert "(1) the release's libraries: lib/ollama has no rocm* (the -rocm archive)" in failed["generation tiny"]
    place.host.check(f"mv /root/rocm_v7_2 {LIBRARIES}/")


def test_an_rx_7900_by_the_group_render_and_a_target_that_is_overridden(place: Place) -> None:
    place.becomes(accelerated.RX_7900, {"kfd": "render", "dri/renderD128": "render"})
    assert place.facts()["gpu_groups"] == [place.number("render")]
    place.says(HSA_OVERRIDE_GFX_VERSION="10.3.0", ROCR_VISIBLE_DEVICES="0")
    place.converges()
    assert place.beside() == "ollama-linux-amd64-rocm.tgz"
    assert (place.libraries(), place.drivers()) == ("rocm_v7_2", "")
    assert place.environment()["HSA_OVERRIDE_GFX_VERSION"] == "10.3.0"
    assert "SupplementaryGroups=render video" in place.host.check(f"cat {UNIT}").splitlines()
    assert place.number("render") in place.groups()
    failed = place.verify()
    assert set(failed) == {"generation tiny"}
    assert (
        "(1) the GPU's target: HSA_OVERRIDE_GFX_VERSION=10.3.0 pretends another one than" in failed["generation tiny"]
    )
    assert "(2) a setting limits it: ROCR_VISIBLE_DEVICES=0" in failed["generation tiny"]

    # The user too must be out of the group: systemd gives a process all groups of its user.
    place.host.check(f"sed -i 's/^SupplementaryGroups=.*/SupplementaryGroups=video/' {UNIT}")
    place.host.check(f"gpasswd -d ollama render; {_RESTART}")
    failed = place.verify()
    assert set(failed) == {"drift", "files", "users", "gpu devices", "generation tiny"}
    assert f"of the group {place.number('render')} (render) with mode 0660" in failed["gpu devices"]
    place.office.check("apply")
    assert set(place.verify()) == {"generation tiny"}


def test_an_arc_card_computes_by_vulkan_unless_that_is_switched_off(place: Place) -> None:
    place.becomes(accelerated.ARC, {"dri/renderD128": "render"})
    place.says(OLLAMA_VULKAN="1")
    place.converges()
    assert (place.libraries(), place.drivers()) == ("", "")
    place.host.check("dpkg -s mesa-vulkan-drivers libvulkan1; ls /usr/share/vulkan/icd.d/intel_icd.*json")
    assert place.environment()["OLLAMA_VULKAN"] == "1"
    # By it the drivers tell free memory.
    assert place.host.check("systemctl show --value -p AmbientCapabilities ollama").strip() == "cap_perfmon"
    failed = place.verify()
    assert set(failed) == {"gpu libraries", "generation tiny"}
    assert "has no vulkan*" in failed["gpu libraries"]
    assert "the GPU is usable (intel 56a0, by Vulkan)" in failed["generation tiny"]
    assert "(1) the release's libraries: lib/ollama has no vulkan*" in failed["generation tiny"]
    assert "Vulkan's drivers in /usr/share/vulkan/icd.d: " in failed["generation tiny"]

    # Then the processor is what was asked for.
    place.says(OLLAMA_VULKAN="0")
    place.converges()
    assert place.environment()["OLLAMA_VULKAN"] == "0"
    assert place.verify() == {}


def test_a_jetson_gets_jetpack_s_libraries_and_keeps_its_devices(place: Place) -> None:
    place.becomes(accelerated.JETSON, files={"usr/sbin/dpkg": accelerated.ARM})
    found = place.facts()
    assert (found["jetson"], found["arch"], "jetson" in found["marks"]) == ("R36", "arm64", True)
    place.converges()
    assert place.beside() == "ollama-linux-arm64-jetpack6.tgz"
    assert (place.libraries(), place.drivers()) == ("cuda_jetpack6", "")
    assert place.host.check("systemctl show --value -p DevicePolicy ollama").strip() == "auto"
    failed = place.verify()
    assert set(failed) == {"generation tiny"}
    assert (
        "are on the CPU although the GPU is usable; likeliest causes: (1) it is too large" in failed["generation tiny"]
    )


def test_dgx_os_keeps_its_driver_and_gets_the_toolkit(place: Place) -> None:
    place.becomes(accelerated.DGX)
    assert "dgx" in place.facts()["marks"]
    said = place.converges()
    assert "driver:nvidia" not in said
    assert "gpu01: generate cdi:nvidia" in said
    assert place.drivers() == ""
    assert place.host.check("dpkg-query -W -f='${Version}' nvidia-container-toolkit") == "1.20.0-1"
    assert place.host.check("systemctl show --value -p DevicePolicy ollama").strip() == "closed"
    # The lab's release has no CUDA.
    failed = place.verify()
    assert set(failed) == {"gpu libraries", "generation tiny"}
    assert "has no cuda_v*: its GPU is not used" in failed["gpu libraries"]
    assert (
        "likeliest causes: (1) it is too large for the GPU's free memory: nvidia-smi says" in failed["generation tiny"]
    )


def test_wsl_keeps_the_driver_of_windows_and_gets_no_toolkit(place: Place) -> None:
    place.becomes(accelerated.WSL, files={"usr/lib/wsl/lib/nvidia-smi": accelerated.WSL_SMI})
    found = place.facts()
    assert ("wsl" in found["marks"], found["nvidia_smi"]) == (True, "576.02")
    said = place.converges()
    assert not re.search(r"(driver|cdi|repository|package):", said)
    assert place.drivers() == ""
    assert place.host.exec("dpkg-query -W nvidia-container-toolkit").rc
    failed = place.verify()
    assert set(failed) == {"gpu libraries", "generation tiny"}
    assert "has no cuda_v*: its GPU is not used" in failed["gpu libraries"]


GARBAGE = Profile(
    "prints garbage", PROFILES["nvidia-hangs"].cards, "570.133.20", failure=("0", "\x1b[2J<html>502</html>\n")
)


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (
            PROFILES["nvidia-hangs"],
            "nvidia-smi does not answer within 10 s: the driver hangs; see dmesg, reboot the host",
        ),
        (GARBAGE, "nvidia-smi: its answer is not understood: [2J<html>502</html>"),
    ],
    ids=["hangs", "garbage"],
)
def test_an_nvidia_smi_that_is_of_no_use_is_told_and_the_rest_goes_on(
    hosts: Callable[..., LabHost], host: LabHost, tmp_path: Path, profile: Profile, told: str
) -> None:
    office, other = Office(tmp_path), hosts()
    pretend(host, profile)
    for name, there in (("gpu01", host), ("web01", other)):
        office.add(there, name, provision_roles=["nvidia", "files"], files={"files": {f"/srv/{tmp_path.name}": "a\n"}})
    applied = office.run("apply")
    assert applied.rc == 0, applied.out + applied.err
    said = [line for line in applied.out.splitlines() if "nvidia-smi" in line]
    assert len(said) == 1
    assert "gpu01: " in said[0]
    assert f"{told}; what needs the NVIDIA driver is left out until it answers" in said[0]
    for there in (host, other):
        assert there.check(f"cat /srv/{tmp_path.name}") == "a\n"
    assert "Traceback" not in applied.out + applied.err
    for name in ("gpu01", "web01"):
        assert re.search(rf"^{name}  1 changed  ", applied.out, re.MULTILINE)
    # The stand-in that hangs is a `sleep`.
    assert host.exec("ls /etc/cdi /etc/provision/nvidia-driver; pgrep -x sleep").out == ""
