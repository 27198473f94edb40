"""The real probe on pretended hosts."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from provision.facts import PATHS, parse, script
from provision.facts.model import FileSystem, Listener, Ollama
from provision.facts.support import refusal
from tests.unit.facts.tree import Tree, cases, check_devices, check_system, devices, system

SYSTEMS = cases("systems.yml")
DEVICES = cases("devices.yml")


@pytest.mark.parametrize("case", SYSTEMS, ids=[case["name"] for case in SYSTEMS])
def test_systems_are_recognised_and_refused_before_anything_is_touched(case: dict[str, Any], tmp_path: Path) -> None:
    facts = system(tmp_path, case).facts()
    check_system(facts, case["expect"])
    reason = refusal(facts.identity)
    if "refused" in case:
        assert reason is not None
        assert case["refused"] in reason
        assert "\n" not in reason
    else:
        assert reason is None


@pytest.mark.parametrize("case", DEVICES, ids=[case["name"] for case in DEVICES])
def test_gpus_are_found_with_their_drivers(case: dict[str, Any], tmp_path: Path) -> None:
    check_devices(devices(tmp_path, case).facts(), case)


def test_the_groups_of_device_files_are_known_by_their_numbers(tmp_path: Path) -> None:
    tree = devices(tmp_path, {"pci": ["0000:03:00.0 0x038000 0x1002 0x740c amdgpu"]})
    for path in ("dev/kfd", "dev/dri/renderD128", "dev/dri/renderD129", "dev/dri/card0"):
        tree.file(path, "")
    tree.file("etc/group", "root:x:0:\nvideo:x:44:\nrender:x:993:\nsgx:x:104:\nother:x:1041:\n")
    owners = {"kfd": "660 104", "renderD128": "666 1041", "renderD129": "660 109"}
    cases = "".join(f"*/{name}) echo '{owner}';;" for name, owner in owners.items())
    tree.command("stat", f'[ "$1 $2 $3" = "-L -c %a %g" ] || exit 1; shift 3; for f; do case $f in {cases} esac; done')
    identity = tree.facts().identity
    # Everybody may open 666; 109 has no name here.
    assert identity.gpu_groups == (104, 109)
    assert identity.groups == {"video": 44, "render": 993, "sgx": 104, "other": 1041}


@pytest.mark.parametrize(
    ("mode", "group", "found"),
    [
        ("660", "993", (993,)),
        ("0660", "993", (993,)),
        ("660", "0", ()),
        ("600", "993", ()),
        ("666", "993", ()),
        ("660", "4294967295", ()),
        ("660", "99999999999", ()),
        ("980", "993", ()),
        ("660", "993; reboot", ()),
    ],
)
def test_a_group_counts_when_the_file_can_be_opened_by_it_alone(mode: str, group: str, found: tuple[int, ...]) -> None:
    assert parse(f"node={mode} {group}\n".encode()).identity.gpu_groups == found


def test_a_driver_that_never_lets_nvidia_smi_go_does_not_hold_the_probe(tmp_path: Path) -> None:
    tree = devices(tmp_path, {"pci": ["0000:01:00.0 0x030000 0x10de 0x2204 nvidia"], "smi": {"hang": True}})
    real = shutil.which("timeout")
    # Not even SIGKILL ends a process inside a hanging driver: this one outlives its time limit.
    tree.command("timeout", f'case $* in *nvidia-smi*) exec sleep 3;; esac\nshift\nexec {real} 0.2 "$@"')
    notes = tree.facts().notes
    assert len(notes) == 1
    assert "does not answer" in notes[0]


def test_ordinary_hardware(tmp_path: Path) -> None:
    identity = system(tmp_path, SYSTEMS[1]).facts().identity
    assert (identity.cpu, identity.cpus, identity.memory) == ("A fast CPU", 16, 65787400 * 1024)
    assert (identity.hostname, identity.kernel) == ("gpu01", "6.12.43+deb13-amd64")
    assert (identity.machine_id, identity.address) == ("0123456789abcdef0123456789abcdef", "10.0.0.5")
    assert identity.groups == {"video": 44, "render": 993}


@pytest.mark.parametrize(
    ("files", "found"), [((), ""), (("chrony",), "chrony"), (("ntpsec", "systemd-timesyncd"), "ntpsec")]
)
def test_a_time_daemon_is_known_by_its_unit(files: tuple[str, ...], found: str, tmp_path: Path) -> None:
    tree = system(tmp_path, SYSTEMS[1])
    for name in files:
        tree.file(f"usr/lib/systemd/system/{name}.service", "[Service]\n")
    assert tree.facts().identity.time_daemon == found


def full(where: Path) -> Tree:
    tree = system(where, SYSTEMS[2])
    tree.command(
        "df",
        "echo 'Filesystem Type 1024-blocks Used Available Capacity Mounted on'\nshift 3\n"
        'for path; do echo "/dev/vda 1 ext4 1000 400 600 40% $path"; done',
    )
    tree.command("docker", "echo 'Docker version 29.7.2, build abcdef0'")
    tree.file("run/docker.pid", "812")
    for task in ("aa", "bb"):
        tree.file(f"run/containerd/io.containerd.runtime.v2.task/moby/{task}/init.pid", "1")
    tree.command(
        "ss",
        "cat <<'EOF'\n"
        'LISTEN 0 4096 127.0.0.1:11434 0.0.0.0:* users:(("ollama",pid=7,fd=3))\n'
        'LISTEN 0 128 *:22 *:* users:(("sshd",pid=1,fd=3),("systemd",pid=1,fd=9))\n'
        "LISTEN 0 4096 [fe80::1%eth0]:53 [::]:*\n"
        "LISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:*\nEOF",
    )
    tree.command("nft", "printf 'table inet provision\\ntable ip nat\\ntable inet filter\\n'")
    tree.command(
        "ollama",
        'test "$OLLAMA_HOST" = 127.0.0.1:1 || exit 1\n'
        "echo 'Warning: could not connect to a running Ollama instance'\necho 'Warning: client version is 0.9.3'",
    )
    tree.command("ollama", "exit 1", "opt/ollama/0.32.15/bin")
    (tree.root / "usr/local/bin").mkdir(parents=True)
    (tree.root / "usr/local/bin/ollama").symlink_to("../../../opt/ollama/0.32.15/bin/ollama")
    (tree.root / "bin").symlink_to("usr/bin")
    tree.file("sys/fs/selinux/enforce", "1")
    tree.file("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\x06\x00\x00\x00\x01")
    tree.file("run/reboot-required", "*** System restart required ***\n")
    tree.file("proc/loadavg", "0.52 0.58 0.59 3/607 12345\n")
    tree.file("proc/uptime", "350735.47 234388.90\n")
    return tree


def test_readings(tmp_path: Path) -> None:
    facts = full(tmp_path).facts(readings=True, paths=["/srv/all models"])
    now = facts.readings
    assert facts.notes == ()
    assert [item.path for item in now.file_systems] == [*PATHS, "/srv/all models"]
    assert now.file_systems[0] == FileSystem("/", "/", "ext4", 1000 * 1024, 600 * 1024)
    assert (now.docker, now.docker_running, now.docker_containers) == ("29.7.2", True, 2)
    assert now.listeners == (
        Listener("::", 22, "sshd"),
        Listener("127.0.0.53", 53),
        Listener("fe80::1", 53),
        Listener("127.0.0.1", 11434, "ollama"),
    )
    assert now.ollamas == (
        Ollama("/usr/local/bin/ollama", "0.32.15", "/opt/ollama/0.32.15/bin/ollama"),
        Ollama("/usr/bin/ollama", "0.9.3", "/usr/bin/ollama"),
    )
    assert (now.selinux, now.firewall, now.secure_boot, now.reboot_required) == ("enforcing", "nftables", "on", True)
    assert (now.load, now.uptime, now.memory_available) == (0.52, 350735, 60000000 * 1024)
    assert now.clock > 1_700_000_000


def test_identity_alone_asks_for_no_readings(tmp_path: Path) -> None:
    tree = full(tmp_path)
    assert b"df=" not in tree.output()
    assert tree.facts().readings.file_systems == ()


def test_a_host_that_has_none_of_the_tools(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for name in ("ip", "getconf"):
        (tree.root / "usr/bin" / name).unlink()
    tree.file("etc/os-release", "ID=debian\n")
    tree.file(
        "proc/net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
    )
    tree.file(
        "proc/net/fib_trie",
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
        "     |-- 10.0.0.0\n        /24 link UNICAST\n"
        "     |-- 10.0.0.7\n        /32 host LOCAL\n",
    )
    tree.file(
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1\n"
        "   1: 0100007F:2CAB 0100007F:0016 01 00000000:00000000 00:00000000 00000000 0 0 1\n",
    )
    tree.file(
        "proc/net/tcp6",
        "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 0\n",
    )
    facts = tree.facts(readings=True)
    assert facts.identity.address == "10.0.0.7"
    assert facts.identity.arch == "amd64"
    assert facts.readings.listeners == (Listener("::", 22), Listener("127.0.0.1", 11434))
    assert any(note.startswith("df did not answer") for note in facts.notes)


@pytest.mark.parametrize(
    ("files", "firewall"),
    [
        ({"etc/ufw/ufw.conf": "# x\nENABLED=yes\nLOGLEVEL=low\n"}, "ufw"),
        ({"etc/ufw/ufw.conf": "ENABLED=no\n"}, ""),
        ({"sys/fs/cgroup/system.slice/firewalld.service/cgroup.procs": "9\n"}, "firewalld"),
        ({"sys/fs/cgroup/systemd/system.slice/firewalld.service/tasks": "9\n"}, "firewalld"),
    ],
)
def test_firewalls(files: dict[str, str], firewall: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for path, content in files.items():
        tree.file(path, content)
    assert tree.facts(readings=True).readings.firewall == firewall


def test_arch_needs_a_reboot_when_the_running_kernels_modules_are_gone(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.file("etc/os-release", "ID=arch\n")
    tree.file("lib/modules/6.13.1-arch1-1/modules.dep", "")
    assert tree.facts(readings=True).readings.reboot_required
    tree.file("lib/modules/6.12.43+deb13-amd64/modules.dep", "")
    assert not tree.facts(readings=True).readings.reboot_required


@pytest.mark.parametrize(
    ("files", "package"),
    [
        ({}, ""),
        ({"docker.io.list": "/.\n/usr/bin/docker\n/usr/sbin/dockerd\n"}, "docker.io"),
        ({"docker-ce.list": "/.\n/usr/bin/dockerd\n", "docker-ce-cli.list": "/usr/bin/docker\n"}, "docker-ce"),
        ({"moby-engine.list": "/usr/bin/dockerd\n"}, "moby-engine"),
        # Of a package that was removed and not purged dpkg lists the configuration alone.
        ({"docker.io.list": "/etc/default/docker\n/usr/bin/dockerd-rootless\n"}, ""),
        ({"podman-docker.list": "/usr/bin/docker\n"}, "podman-docker"),
    ],
)
def test_what_docker_came_with(tmp_path: Path, files: dict[str, str], package: str) -> None:
    tree = Tree(tmp_path)
    for name, content in files.items():
        tree.file(f"var/lib/dpkg/info/{name}", content)
    assert tree.facts().identity.docker_package == package


@pytest.mark.parametrize(
    ("name", "package"), [("docker-ce", "docker-ce"), ("podman-docker", "podman-docker"), ("docker-ce-cli", "")]
)
def test_what_docker_came_with_where_rpm_says_it(tmp_path: Path, name: str, package: str) -> None:
    tree = Tree(tmp_path)
    tree.command("rpm", f"[ $1 = -qf ] && printf {name}")
    assert tree.facts().identity.docker_package == ""
    tree.file("usr/bin/docker", "")
    assert tree.facts().identity.docker_package == package
    # Fedora and EPEL have a dpkg, for building packages.
    tree.command("dpkg", "echo amd64")
    assert tree.facts().identity.docker_package == package


def test_what_docker_came_with_where_pacman_keeps_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.file("var/lib/pacman/local/docker-buildx-0.20.1-1/desc", "")
    assert tree.facts().identity.docker_package == ""
    tree.file("var/lib/pacman/local/docker-1:28.1.1-1/desc", "")
    assert tree.facts().identity.docker_package == "docker"


def test_docker_as_a_snap(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.file("snap/docker/2976/meta/snap.yaml", "name: docker\n")
    assert tree.facts().identity.docker_package == "snap"


def test_podman_in_dockers_place_is_not_docker(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.command("docker", "echo 'Emulate Docker CLI using podman.' >&2; echo 'podman version 5.4.0'")
    assert tree.facts(readings=True).readings.docker == ""


def test_no_content_of_a_file_becomes_a_record_or_runs(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    victim = tree.root / "victim"
    attack = "$(>victim) `>victim`; >victim"
    tree.file(
        "etc/os-release",
        f'ID="debian"\nmark=nixos\nend=identity\nPRETTY_NAME="{attack}"\n'
        f'VERSION_ID="13\'; {attack}"\n\x00\x1b]0;x\x07\udcff\n',
    )
    for path in ("etc/machine-id", "proc/sys/kernel/hostname", "etc/nv_tegra_release", "etc/dgx-release"):
        tree.file(path, f"{attack}\nmark=nixos\n")
    tree.file("etc/group", f"video:x:44:{attack}\nrender:x:{attack}:\n")
    facts = tree.facts(readings=True)
    assert not victim.exists()
    assert facts.identity.os.name == attack
    assert facts.identity.os.version == ""
    assert (facts.identity.hostname, facts.identity.machine_id) == ("", "")
    assert facts.identity.groups == {"video": 44}
    assert "nixos" not in facts.identity.marks


def test_a_line_of_a_megabyte_is_cut(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.file("etc/os-release", f"ID=debian\nPRETTY_NAME={'x' * (1 << 20)}\n")
    out = tree.output()
    assert len(out) < 100_000
    assert len(tree.facts().identity.os.name) == 200


def test_a_pipe_in_a_files_place_does_not_hold_the_probe(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    os.mkfifo(tree.root / "etc/os-release")
    assert tree.facts().identity.os.id == "linux"


@pytest.mark.parametrize("path", ["relative", "", "/two\nlines"])
def test_only_absolute_paths_are_asked_for(path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        script(readings=True, paths=[path])
