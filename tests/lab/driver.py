"""NVIDIA's repository of drivers with stand-ins, and hosts that pretend GPUs as a server would: no containers.

A stand-in's `modprobe` puts another directory over `/` (docs/facts.md), in which the driver works; at each boot a unit
does the same, as udev does on a server. `modinfo` tells the version that is installed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provision.twin.gpus import PROFILES, ROOT, Entry, Profile, packed, tree
from tests.lab.cache import run
from tests.lab.hosts import LabHost
from tests.lab.packages import Repository, sign

VERSION = "580.95.05"
NEWER = "590.44.01"
OLD = "535.183.01"
# The lab's hosts run the kernel of this machine.
HEADERS = f"linux-headers-{os.uname().release}"
_HEALTHY = "healthy"

_MODINFO = """\
#!/bin/sh
for word; do [ "$word" != -k ] || exit 1; done
cat /usr/lib/lab-nvidia/version
"""
_MODPROBE = """\
#!/bin/sh
[ "$1" = nvidia ] || exit 0
[ ! -e /etc/lab-modprobe-fails ] || { cat /etc/lab-modprobe-fails >&2; exit 1; }
rm -rf /twin/gpu
cp -a /healthy /twin/gpu
cp /usr/lib/lab-nvidia/version /twin/gpu/sys/module/nvidia/version
for program in nvidia-smi nvidia-ctk; do ln -sf /twin/gpu/usr/bin/$program /usr/local/bin/$program; done
"""
_SMI = """\
#!/bin/sh
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
exit 9
"""
# An older module is still loaded: what a real library then says.
_MISMATCH = """\
#!/bin/sh
loaded=/twin/gpu/sys/module/nvidia/version
[ ! -f $loaded ] || [ "$(cat $loaded)" = VERSION ] ||
    printf '18\\nFailed to initialize NVML: Driver/library version mismatch\\n' >/twin/gpu/nvidia-smi/failure
"""
_BOOT_UNIT = """\
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/modprobe nvidia
"""
_DAEMON_UNIT = """\
[Service]
ExecStart=/usr/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Stand:
    """A package: name and version, what else stands in its control file, path -> content or `-> target`, postinst."""

    name: str
    version: str
    fields: Mapping[str, str]
    files: Mapping[str, str]
    postinst: str = ""


def _kernel(name: str, version: str) -> Stand:
    other = {"nvidia-kernel-dkms": "nvidia-kernel-open-dkms", "nvidia-kernel-open-dkms": "nvidia-kernel-dkms"}[name]
    wants = "usr/lib/systemd/system/sysinit.target.wants/lab-nvidia.service"
    return Stand(
        name,
        f"{version}-1",
        {"Conflicts": other, "Depends": f"nvidia-driver-cuda (= {version}-1)"},
        {
            "usr/lib/lab-nvidia/version": f"{version}\n",
            "usr/local/sbin/modinfo": _MODINFO,
            "usr/local/sbin/modprobe": _MODPROBE,
            "usr/lib/systemd/system/lab-nvidia.service": _BOOT_UNIT,
            wants: "-> ../lab-nvidia.service",
        },
        _MISMATCH.replace("VERSION", version),
    )


def _user(version: str) -> list[Stand]:
    unit = "usr/lib/systemd/system/nvidia-persistenced.service"
    return [
        Stand("nvidia-driver-cuda", f"{version}-1", {}, {"usr/bin/nvidia-smi": _SMI}),
        Stand("nvidia-persistenced", f"{version}-1", {}, {unit: _DAEMON_UNIT}),
    ]


def _old() -> list[Stand]:
    """Debian's driver: it refuses NVIDIA's packages beside it."""
    modinfo = {"usr/lib/lab-nvidia/version": f"{OLD}\n", "usr/local/sbin/modinfo": _MODINFO}
    clash = {"Conflicts": "nvidia-driver-cuda"}
    return [
        Stand("nvidia-tesla-kernel", f"{OLD}-1~deb12u1", clash, modinfo),
        Stand("nvidia-tesla-smi", f"{OLD}-1~deb12u1", clash, {}),
    ]


STANDS = [
    *(stand for version in (VERSION, NEWER) for stand in _user(version)),
    *(
        _kernel(name, version)
        for version in (VERSION, NEWER)
        for name in ("nvidia-kernel-dkms", "nvidia-kernel-open-dkms")
    ),
    *_old(),
    Stand(HEADERS, "1", {}, {}),
]


def repository(folder: Path, expired: bool = False) -> Repository:
    """Make it in an empty folder; with a key that expired if that is wanted."""
    place = folder / "repository"
    place.mkdir()
    for number, stand in enumerate(STANDS):
        _package(folder / str(number), stand, place)
    sign(place, expired=expired)
    return Repository(place, (place / "fingerprint").read_text())


def _package(at: Path, stand: Stand, place: Path) -> None:
    control = at / "DEBIAN"
    control.mkdir(parents=True)
    fields = {"Package": stand.name, "Version": stand.version, "Architecture": "all", "Maintainer": "lab"}
    fields |= {"Description": "a stand-in", **stand.fields}
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    for path, text in stand.files.items():
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            (at / path).symlink_to(text.removeprefix("-> "))
            continue
        (at / path).write_text(text)
        (at / path).chmod(0o755 if text.startswith("#!") else 0o644)
    if stand.postinst:
        (control / "postinst").write_text(stand.postinst)
        (control / "postinst").chmod(0o755)
    run(("dpkg-deb", "--root-owner-group", "-Znone", "--build", at, place), what=stand.name)


def pretend(host: LabHost, what: str | Profile, files: Mapping[str, str | Entry] | None = None) -> None:
    """Make a host one with these GPUs, whatever was done on it before, and one that is no container.

    Args:
        host: a running one.
        what: a profile, or the name of one of `provision.twin.gpus.PROFILES`.
        files: more of what stands over `/`.
    """
    profile = PROFILES[what] if isinstance(what, str) else what
    plain = {"run/systemd/container": Entry(b"\n")} | {
        path: Entry(text.encode()) if isinstance(text, str) else text for path, text in (files or {}).items()
    }
    entries = {f"{ROOT}/{path}": entry for path, entry in (tree(profile) | plain).items()}
    entries |= {f"{_HEALTHY}/{path}": entry for path, entry in (tree(_healthy(profile)) | plain).items()}
    entries["etc/provision/probe-root"] = Entry(f"/{ROOT}\n".encode())
    for path in [path for path in entries if path.startswith(f"{ROOT}/usr/bin/")]:
        entries[f"usr/local/bin/{path.rpartition('/')[2]}"] = Entry(link=f"/{path}")
    host.check(_CLEAN)
    host.container.put_archive("/", packed(entries))


def _healthy(profile: Profile) -> Profile:
    """The same cards with a driver of the branch 580 that works."""
    cards = tuple(
        replace(card, driver="nvidia", name=card.name or "NVIDIA Card", memory=card.memory or "24576", capability="8.6")
        for card in profile.cards
    )
    return Profile(profile.what, cards, VERSION, open=True)


# The names of what the tests install; the engine stays.
_CLEAN = """\
rm -rf /.dockerenv /twin /healthy /etc/lab-modprobe-fails /usr/local/bin/nvidia-smi /usr/local/bin/nvidia-ctk
rm -rf /etc/cdi /run/provision/nvidia-loaded /etc/provision/nvidia-driver
found=$(dpkg-query -W -f='${Package}\\n' 'nvidia-*' 'libnvidia-*' 'linux-headers-*' 2>/dev/null || :)
[ -z "$found" ] || dpkg --purge --force-all $found >/dev/null 2>&1
rm -f /etc/apt/preferences.d/provision-nvidia /etc/apt/sources.list.d/nvidia-*
"""
