"""The NVIDIA kernel module of a host: the one that is installed is the one that is loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import ClassVar, Literal

from provision.dataclass import dataclass
from provision.drivers import branch
from provision.resources.base import Change, Pending, Reboot, Resource, Run, Section, Step
from provision.resources.package import Package
from provision.values import human_bytes, printable

LOADED = "/run/provision/nvidia-loaded"
"""Its time is that of the moment at which we loaded the module: what looked for GPUs before that saw none."""

# Room that a driver takes: libraries; archives and what is built; modules; the initramfs of two kernels.
_ROOM = {"/usr": 1 << 30, "/var": 1 << 30, "/lib/modules": 200 << 20, "/boot": 150 << 20}


@dataclass(frozen=True)
class Modules:
    """What is there. Versions are "" where there is none.

    Args:
        kernel: the one that runs.
        loaded: version of the loaded module.
        installed: version of the module for the kernel that runs.
        waiting: another kernel under /lib/modules that has the module, where the one that runs has none.
        nouveau: a GPU is bound to it.
        secure_boot: the firmware loads signed modules only.
        enrolled: the key with which modules are signed here is known to the firmware.
        free: path -> bytes, of the file systems that a driver needs.
    """

    kernel: str = ""
    loaded: str = ""
    installed: str = ""
    waiting: str = ""
    nouveau: bool = False
    secure_boot: bool = False
    enrolled: bool = False
    free: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NvidiaDriver:
    """The driver works: its module is loaded, in the version that is installed.

    Where only a reboot helps (nouveau is bound, or an older module is loaded), the host is rebooted if that is
    allowed; else the plan says what waits for one, and all that does not need the driver goes on.

    Args:
        minimum: the oldest branch that is of use; an older one is told.
        reboot: `never` or `if-needed`.
        after: resources that install it.
        signed: its modules load under Secure Boot as they come; others need a key that was enrolled at the console.
        complaint: why `nvidia-smi` was of no use when the host was asked what it is, or "".
    """

    minimum: int
    reboot: Literal["never", "if-needed"] = "never"
    after: tuple[Resource, ...] = field(default=(), repr=False)
    signed: bool = False
    complaint: str = ""
    redefines: ClassVar[bool] = True

    @property
    def id(self) -> str:
        """`driver:nvidia`."""
        return "driver:nvidia"

    def probe(self) -> str:
        """Versions from /sys and of the file, what is bound, Secure Boot, and room while nothing is installed."""
        return _PROBE.format(room=" ".join(_ROOM))

    def observe(self, section: Section) -> Modules:
        """What is there."""
        words = [line.partition("=") for line in section.lines]
        values = {key: printable(value.strip(), 80) for key, _, value in words if key != "free"}
        rooms = (value.split() for key, _, value in words if key == "free")
        return Modules(
            kernel=values.get("kernel", ""),
            loaded=values.get("loaded", ""),
            installed=values.get("installed", ""),
            waiting=values.get("waiting", ""),
            nouveau="nouveau" in values,
            secure_boot="secure_boot" in values,
            enrolled="enrolled" in values,
            free={room[0]: int(room[1]) * 1024 for room in rooms if len(room) == 2 and room[1].isdecimal()},
        )

    def plan(self, observed: Modules, pending: Pending) -> Change | None:
        """`load`, or `reboot`.

        Raises:
            ValueError: it would be installed in vain: the firmware would refuse it, or there is no room.
        """
        before = {"loaded": observed.loaded, "installed": observed.installed}
        if earlier := pending.any(*self.after):
            self._refuse(observed)
            return Change(self.id, "load", f"unknown until {earlier.resource} is applied", before, uncertain=True)
        if why := _reboot(observed):
            return Change(self.id, "reboot", why, before) if self.reboot == "if-needed" else None
        if observed.loaded or not (observed.installed or self.after):
            return None
        return Change(self.id, "load", "its module is not loaded", before)

    def remark(self, observed: Modules) -> str:
        """What this resource cannot bring about by itself, or ""."""
        if (why := _reboot(observed)) and self.reboot == "never":
            return f"the NVIDIA driver waits for a reboot: {why}; nvidia.reboot: if-needed does it, or reboot and apply"
        version = observed.installed or observed.loaded
        if version and branch(version) < self.minimum and not self.after:
            return (
                f"the NVIDIA driver {version} is too old, {self.minimum} is needed: "
                "models run on the CPU; nvidia.driver: replace installs another"
            )
        if not (version or self.after):
            return f"there is no NVIDIA module for the kernel {observed.kernel}, and nvidia.driver installs none here"
        if observed.loaded and self.complaint:
            return f"{printable(self.complaint, 300)}; what needs the NVIDIA driver is left out until it answers"
        return ""

    def steps(self, change: Change) -> Iterator[Step]:
        """One script, or the reboot."""
        if change.action == "reboot":
            yield Reboot(change.why)
        else:
            yield Run(_LOAD, timeout=120)

    def _refuse(self, observed: Modules) -> None:
        if observed.secure_boot and not (self.signed or observed.enrolled or observed.installed):
            raise ValueError(
                "Secure Boot is on and would refuse the modules, which are built on the host: enrol the key "
                "/var/lib/dkms/mok.pub at the console (dkms generate_mok, mokutil --import), turn Secure Boot off, or "
                "say nvidia.driver: keep"
            )
        if observed.installed:
            return
        for path, need in _ROOM.items():
            if (free := observed.free.get(path)) is not None and free < need:
                raise ValueError(
                    f"no room for a driver in {path}: {human_bytes(need)} are needed, {human_bytes(free)} are free"
                )


def _reboot(observed: Modules) -> str:
    """Why only a reboot helps, or ""."""
    if observed.nouveau and observed.installed:
        return f"nouveau drives the GPU, {observed.installed} is installed"
    if observed.loaded and observed.installed and observed.loaded != observed.installed:
        return f"{observed.loaded} is loaded, {observed.installed} is installed"
    if observed.waiting and not observed.installed:
        return f"it is installed for the kernel {observed.waiting}, and {observed.kernel} runs"
    return ""


# A lab host's file /etc/provision/probe-root names a directory that is laid over `/` (facts/probe.sh).
_PROBE = """\
over=
[ ! -f /etc/provision/probe-root ] || IFS= read -r over </etc/provision/probe-root
at() {{ at=$over$1; [ -e "$at" ] || at=$1; }}
k=$(uname -r)
echo "kernel=$k"
at /sys/module/nvidia/version
[ ! -f "$at" ] || sed 's/^/loaded=/;q' "$at"
installed=$(modinfo -F version nvidia 2>/dev/null)
echo "installed=$installed"
at /sys/bus/pci/devices
readlink "$at"/*/driver 2>/dev/null | grep -q '/nouveau$' && echo nouveau=1
at /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
if [ -f "$at" ] && [ "$(tail -c 1 "$at" | od -A n -t u1 | tr -d ' ')" = 1 ]; then
    echo secure_boot=1
    mokutil --test-key /var/lib/dkms/mok.pub 2>/dev/null | grep -q 'already enrolled' && echo enrolled=1
fi
if [ -z "$installed" ]; then
    for m in /lib/modules/*; do
        m=${{m##*/}}
        [ "$m" = "$k" ] || [ -z "$(modinfo -k "$m" -F version nvidia 2>/dev/null)" ] || echo "waiting=$m"
    done
    for d in {room}; do
        [ ! -d $d ] || df -Pk $d | awk -v d=$d 'END {{ print "free=" d, $4 }}'
    done
fi
:
"""

_LOAD = f"""\
modprobe nvidia 2>"$PROVISION_TMP/why" || {{
    case $(cat "$PROVISION_TMP/why") in
    *'not found'*)
        echo "there is no nvidia module for the kernel $(uname -r): dkms status and" \\
            "/var/lib/dkms/nvidia/*/build/make.log say why" >&2
        ;;
    *rejected* | *'key not available'*)
        echo 'Secure Boot refuses the module: enrol its key at the console (mokutil --import), or turn it off' >&2
        ;;
    *) tail -n 1 "$PROVISION_TMP/why" >&2 ;;
    esac
    exit 1
}}
modprobe nvidia_uvm 2>/dev/null
nvidia-modprobe -c 0 -u >/dev/null 2>&1
timeout -k 1 60 nvidia-smi -L >"$PROVISION_TMP/why" 2>&1
case $? in
0) ;;
124 | 137) echo 'the module is loaded, nvidia-smi does not answer within 60 s: see dmesg' >&2; exit 1 ;;
*) echo "the module is loaded, nvidia-smi does not work: $(tail -n 1 "$PROVISION_TMP/why")" >&2; exit 1 ;;
esac
mkdir -p /run/provision && : >{LOADED}
"""


@dataclass(frozen=True)
class KernelHeaders:
    """What modules for the kernel that runs are built with. The names change with every kernel, the id does not."""

    package: Package

    @property
    def id(self) -> str:
        """`kernel-headers:running`."""
        return "kernel-headers:running"

    def probe(self) -> str:
        """As the package's."""
        return self.package.probe()

    def observe(self, section: Section) -> dict[str, str]:
        """As the package's."""
        return self.package.observe(section)

    def plan(self, observed: dict[str, str], pending: Pending) -> Change | None:
        """`install`."""
        change = self.package.plan(observed, pending)
        return replace(change, resource=self.id) if change else None

    def steps(self, change: Change) -> Iterator[Step]:
        """As the package's."""
        return self.package.steps(change)


@dataclass(frozen=True)
class OldDriver:
    """No package of this version of the driver is left: another branch refuses to be installed beside it.

    All of a driver's packages carry its version. Nothing else is taken away: when more would go, nothing does.
    """

    owned: ClassVar[bool] = False
    version: str

    @property
    def id(self) -> str:
        """`old-driver:VERSION`."""
        return f"old-driver:{self.version}"

    def probe(self) -> str:
        """The installed packages of that version."""
        return (
            "dpkg-query -W -f='${db:Status-Status} ${Version} ${Package}:${Architecture}\\n' 2>/dev/null |\n"
            f"  awk -v v={self.version!r} "
            '\'{ sub(/^[0-9]+:/, "", $2) } $1 == "installed" && index($2, v) == 1 && '
            "substr($2, length(v) + 1, 1) ~ /^([-+~]|$)/ { print $3 }'\n"
        )

    def observe(self, section: Section) -> tuple[str, ...]:
        """Their names with the architecture."""
        return tuple(line.strip() for line in section.lines if line.strip())

    def plan(self, observed: tuple[str, ...], pending: Pending) -> Change | None:
        """`remove`."""
        if not observed:
            return None
        return Change(self.id, "remove", "too old", {"packages": list(observed)}, private=observed)

    def steps(self, change: Change) -> Iterator[Step]:
        """Ask what would go, then do it."""
        names: tuple[str, ...] = change.private
        yield Run(_REMOVE.format(names=" ".join(names)), timeout=900)


# What runs keeps the loaded module and its open libraries until the reboot.
_REMOVE = """\
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1 LC_ALL=C
printf '%s\n' {names} | sed 's/:.*//' | sort -u >"$PROVISION_TMP/ours"
apt-get -s -q remove {names} 2>"$PROVISION_TMP/why" | awk '$1 == "Remv" {{ sub(/:.*/, "", $2); print $2 }}' |
    sort -u >"$PROVISION_TMP/gone"
[ -s "$PROVISION_TMP/gone" ] || {{ tail -n 1 "$PROVISION_TMP/why" >&2; exit 1; }}
other=$(grep -vxF -f "$PROVISION_TMP/ours" "$PROVISION_TMP/gone" | tr '\\n' ' ')
[ -z "$other" ] || {{ echo "the old driver is needed by ${{other% }}: remove it, then apply again" >&2; exit 1; }}
apt-get -q -y -o DPkg::Lock::Timeout=600 remove {names} >"$PROVISION_TMP/log" 2>&1 || {{
    grep -m 1 -E '^(E:|dpkg: error)' "$PROVISION_TMP/log" >&2 || echo 'apt-get remove failed' >&2
    exit 1
}}
"""
