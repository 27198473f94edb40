"""The CDI specification of a host's NVIDIA GPUs: what a container gets with `--device nvidia.com/gpu=all`."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.values import printable, quote

PATH = "/etc/cdi/nvidia.yaml"


@dataclass(frozen=True)
class CdiSpecification:
    """A specification that was made for the driver that is loaded: the paths in it carry the driver's version.

    Since 1.18 the toolkit makes one by itself under /run; one of either is enough, and a stale one of ours is replaced.
    """

    driver: str
    after: tuple[Resource, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`cdi:nvidia`."""
        return "cdi:nvidia"

    def probe(self) -> str:
        """Which specifications there are, and whether they name the driver's version."""
        version = quote(self.driver)
        return (
            f"for f in {PATH} /run/cdi/nvidia.yaml; do\n"
            f'    [ ! -e "$f" ] || if grep -qF {version} "$f"; then echo "$f fresh"; else echo "$f stale"; fi\n'
            "done\n"
        )

    def observe(self, section: Section) -> dict[str, str]:
        """Path -> `fresh` or `stale`."""
        return {line.partition(" ")[0]: line.partition(" ")[2] for line in section.lines}

    def plan(self, observed: dict[str, str], pending: Pending) -> Change | None:
        """`generate`."""
        if observed.get(PATH) != "stale" and "fresh" in observed.values():
            return None
        if not observed and pending.any(*self.after):
            # The toolkit's own service may make one when it is installed.
            return Change(self.id, "generate", "after the toolkit is installed", uncertain=True)
        why = "made for another driver" if observed else "not there"
        return Change(self.id, "generate", f"{why}: driver {self.driver}", dict(observed), {"driver": self.driver})

    def steps(self, change: Change) -> Iterator[Step]:
        """`nvidia-ctk cdi generate`, and a device must be in it: the list's exit status is 0 without one too."""
        yield Run(
            f"mkdir -p /etc/cdi && nvidia-ctk cdi generate --output={PATH} || exit 1\n"
            "nvidia-ctk cdi list 2>/dev/null | grep -q '^nvidia.com/gpu=' && exit 0\n"
            "echo 'no CDI device was found' >&2\nexit 1\n",
            timeout=120,
        )


@dataclass(frozen=True)
class Offered:
    """Whether the engine offers the GPUs: what is wrong, or ""; and what it cannot do at all, or ""."""

    complaint: str = ""
    remark: str = ""


@dataclass(frozen=True)
class DockerGpus:
    """The proof that Docker offers the GPUs to containers: `docker info` shows CDI and the devices, and the runtime.

    Nothing is done about it but waiting: an engine reads a new specification a moment later.

    Args:
        after: what changes it.
        runtime: the runtime `nvidia` is declared, too.
    """

    after: tuple[Resource | str, ...] = field(default=(), repr=False)
    runtime: bool = False

    @property
    def id(self) -> str:
        """`docker-gpus:nvidia`."""
        return "docker-gpus:nvidia"

    def probe(self) -> str:
        """`docker info`, of an engine that runs: asking the socket would start one."""
        return "[ -e /run/docker.pid ] || exit 0\ntimeout 20 docker info --format '{{json .}}' 2>/dev/null || :\n"

    def observe(self, section: Section) -> Offered:
        """What it tells."""
        if not section.text.strip():
            return Offered("the Docker engine does not answer")
        info = json.loads(section.text)
        old = bool(version(info)) and version(info) < _CDI and not self.runtime
        remark = (
            f"{self.id}: containers get no GPU from the Docker engine {info.get('ServerVersion')}, which knows no CDI"
        )
        return Offered(lacking(info, self.runtime), f"{printable(remark, 200)}: nvidia.runtime: true" if old else "")

    def plan(self, observed: Offered, pending: Pending) -> Change | None:
        """`prove`."""
        if earlier := pending.any(*self.after):
            return Change(self.id, "prove", f"unknown until {earlier.resource} is applied", uncertain=True)
        return Change(self.id, "prove", observed.complaint) if observed.complaint else None

    def remark(self, observed: Offered) -> str:
        """What an old engine cannot do."""
        return observed.remark

    def steps(self, change: Change) -> Iterator[Step]:
        """Wait a moment; what is still wrong then, the engine says."""
        yield Run(_WAIT, timeout=120)


_WAIT = """\
n=0
until timeout 20 docker info --format '{{json .}}' 2>/dev/null | grep -q '"nvidia.com/gpu=' || [ $n -ge 10 ]; do
    sleep 0.5
    n=$((n + 1))
done
"""


# CDI is known from 25.0 on; the devices that were found are told from 28.2 on (moby: api/types/system).
_CDI, _DEVICES = (25, 0), (28, 2)


def version(info: Mapping[str, Any]) -> tuple[int, ...]:
    """(26, 1) of an engine 26.1.5; () when it does not say."""
    return tuple(map(int, re.findall(r"\d{1,6}", str(info.get("ServerVersion") or ""))[:2]))


def lacking(info: Mapping[str, Any], runtime: bool = False) -> str:
    """What `docker info` should show of the GPUs and does not, or ""."""
    if errors := info.get("ServerErrors"):
        return f"the Docker engine does not answer: {printable(str(errors[0]), 200)}"
    devices = [str(one.get("ID")) for one in info.get("DiscoveredDevices") or []]
    if runtime and "nvidia" not in (info.get("Runtimes") or {}):
        return "docker info shows no runtime nvidia"
    if version(info) >= _CDI and not info.get("CDISpecDirs"):
        return "docker info shows no directories of CDI specifications: CDI is off"
    if version(info) >= _DEVICES and not any(name.startswith("nvidia.com/gpu=") for name in devices):
        return "docker info shows no device nvidia.com/gpu"
    return ""
