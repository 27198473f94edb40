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
class DockerGpus:
    """The proof that Docker offers the GPUs to containers: `docker info` shows the runtime, CDI and the devices.

    Nothing is done about it but waiting: an engine reads a new specification a moment later.
    """

    after: tuple[Resource | str, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`docker-gpus:nvidia`."""
        return "docker-gpus:nvidia"

    def probe(self) -> str:
        """`docker info`, of an engine that runs: asking the socket would start one."""
        return "[ -e /run/docker.pid ] || exit 0\ntimeout 20 docker info --format '{{json .}}' 2>/dev/null || :\n"

    def observe(self, section: Section) -> str:
        """What is wrong, or ""."""
        return lacking(json.loads(section.text)) if section.text.strip() else "the Docker engine does not answer"

    def plan(self, observed: str, pending: Pending) -> Change | None:
        """`prove`."""
        if earlier := pending.any(*self.after):
            return Change(self.id, "prove", f"unknown until {earlier.resource} is applied", uncertain=True)
        return Change(self.id, "prove", observed) if observed else None

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


def lacking(info: Mapping[str, Any]) -> str:
    """What `docker info` should show of the GPUs and does not, or "".

    CDI is known from 25.0 on; the devices that were found are told from 28.2 on (moby: api/types/system).
    """
    if errors := info.get("ServerErrors"):
        return f"the Docker engine does not answer: {printable(str(errors[0]), 200)}"
    version = tuple(map(int, re.findall(r"\d{1,6}", str(info.get("ServerVersion")))[:2]))
    devices = [str(one.get("ID")) for one in info.get("DiscoveredDevices") or []]
    if "nvidia" not in (info.get("Runtimes") or {}):
        return "docker info shows no runtime nvidia"
    if version >= (25, 0) and not info.get("CDISpecDirs"):
        return "docker info shows no directories of CDI specifications: CDI is off"
    if version >= (28, 2) and not any(name.startswith("nvidia.com/gpu=") for name in devices):
        return "docker info shows no device nvidia.com/gpu"
    return ""
