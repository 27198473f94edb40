"""What a reader and a program see of facts."""

import json
from dataclasses import replace
from pathlib import Path

from provision.facts.model import (
    GPU,
    OS,
    Facts,
    FileSystem,
    Identity,
    Listener,
    Load,
    Ollama,
    Readings,
)
from provision.facts.show import COLUMNS, as_data, as_json, plain, remarks, row
from tests.unit.facts.tree import cases, devices

GIGA = 10**9
DEBIAN = OS("debian", "13", "trixie", "Debian GNU/Linux 13 (trixie)", "debian")
CARD = GPU("0000:01:00.0", "nvidia", "2204", "nvidia", "NVIDIA GeForce RTX 3090", 24 << 30, "GPU-1", "8.6")
FACTS = Facts(
    Identity(
        hostname="gpu01",
        os=DEBIAN,
        arch="amd64",
        kernel="6.12.43",
        init="systemd",
        virtualization="none",
        package_manager="apt",
        cpu="Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz",
        cpus=28,
        memory=128 * GIGA,
        gpus=(CARD, GPU("0000:02:00.0", "1a03", "2000", "ast")),
        nvidia_driver="580.95.05",
        nvidia_smi="580.95.05",
        marks=frozenset({"dgx", "mig"}),
        groups={"render": 993},
    ),
    Readings(
        file_systems=(
            FileSystem("/", "/", "ext4", 100 * GIGA, 60 * GIGA),
            FileSystem("/var", "/", "ext4", 100 * GIGA, 60 * GIGA),
            FileSystem("/srv", "/srv", "xfs", 900 * GIGA, 800 * GIGA),
        ),
        listeners=(Listener("127.0.0.1", 11434, "ollama"),),
        docker="29.7.2",
        docker_running=True,
        docker_containers=3,
        ollamas=(
            Ollama("/usr/local/bin/ollama", "0.32.15", "/opt/ollama/0.32.15/bin/ollama"),
            Ollama("/usr/bin/ollama"),
        ),
        gpus=(Load("0000:01:00.0", 5, 3, 41),),
    ),
    ("a note",),
)

IDENTITY = {
    "hostname",
    "os",
    "arch",
    "kernel",
    "init",
    "virtualization",
    "package_manager",
    "cpu",
    "cpus",
    "memory",
    "gpus",
    "nvidia_driver",
    "nvidia_smi",
    "nvidia_open",
    "amd_kfd",
    "time_daemon",
    "marks",
    "groups",
    "machine_id",
    "address",
    "jetson",
    "model",
    "docker_package",
}
READINGS = {
    "memory_available",
    "load",
    "uptime",
    "clock",
    "file_systems",
    "listeners",
    "docker",
    "docker_running",
    "docker_containers",
    "ollamas",
    "selinux",
    "firewall",
    "secure_boot",
    "reboot_required",
    "gpus",
}


def test_a_row_says_what_an_admin_looks_for() -> None:
    assert row("gpu01", FACTS) == (
        "gpu01",
        "Debian GNU/Linux 13 (trixie) [dgx, mig]",
        "amd64",
        "28 × Intel Xeon E5-2690 v4",
        "128.0 GB",
        "NVIDIA GeForce RTX 3090 25.8 GB (nvidia 580.95.05)",
        "60.0 GB on /\n800.0 GB on /srv",
        "29.7.2 (3 running)",
        "0.32.15 /usr/local/bin/ollama\n? /usr/bin/ollama",
    )


def test_a_gpu_without_a_driver_is_named_by_its_architecture() -> None:
    bare = replace(FACTS, identity=replace(FACTS.identity, gpus=(GPU("0000:01:00.0", "nvidia", "2204", ""),)))
    assert row("gpu01", bare)[COLUMNS.index("GPU")] == "nvidia ampere 2204 (no driver)"


def test_remarks_name_the_host() -> None:
    assert remarks("gpu01", FACTS) == ["gpu01: a note"]
    old = replace(
        FACTS,
        identity=replace(FACTS.identity, os=replace(DEBIAN, version="11", name="Debian 11")),
        readings=replace(FACTS.readings, reboot_required=True),
        notes=(),
    )
    first, second = remarks("gpu01", old)
    assert first.startswith("gpu01: not served: Debian 11 is not supported; supported are Debian 12")
    assert second == "gpu01: a reboot is pending"


def test_the_plain_table_has_one_line_a_host() -> None:
    lines = plain([row("gpu01", FACTS), ("web", *[""] * 8)]).splitlines()
    assert len(lines) == 3
    assert lines[0].split("  ")[0] == "host"
    assert "60.0 GB on /, 800.0 GB on /srv" in lines[1]
    assert lines[2].split() == ["web", *["-"] * 8]
    assert lines[1].index("amd64") == lines[0].index("arch")


def test_a_host_without_facts_says_why() -> None:
    assert as_data("gpu02", "no route to host") == {"schema": 1, "host": "gpu02", "error": "no route to host"}


def test_json_has_everything_in_one_line() -> None:
    text = as_json("gpu01", FACTS)
    assert "\n" not in text
    first = json.loads(text)
    assert (first["schema"], first["host"]) == (1, "gpu01")
    assert first["identity"]["gpus"][0]["name"] == "NVIDIA GeForce RTX 3090"
    assert first["identity"]["marks"] == ["dgx", "mig"]
    assert first["identity"]["os"]["codename"] == "trixie"
    assert first["readings"]["listeners"] == [{"address": "127.0.0.1", "port": 11434, "process": "ollama"}]
    assert first["notes"] == ["a note"]
    assert first["refused"] is None


def test_the_keys_of_the_json_stay() -> None:
    """Programs read them: a key that goes or is renamed needs another `schema`."""
    data = as_data("gpu01", FACTS)
    assert sorted(data) == ["host", "identity", "notes", "readings", "refused", "schema"]
    assert {*data["identity"]} >= IDENTITY
    assert {*data["readings"]} >= READINGS
    assert {*data["identity"]["gpus"][0]} >= {"slot", "vendor", "device", "driver", "name", "memory", "uuid", "target"}


def test_every_pretended_device_can_be_shown(tmp_path: Path) -> None:
    for number, case in enumerate(cases("devices.yml")):
        if not case.get("smi", {}).get("hang"):
            facts = devices(tmp_path / str(number), case).facts()
            assert len(row("host", facts)) == len(COLUMNS)
            json.loads(as_json("host", facts))
