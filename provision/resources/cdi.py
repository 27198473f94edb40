"""The CDI specification of a host's NVIDIA GPUs: what a container gets with `--device nvidia.com/gpu=all`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.values import quote

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
