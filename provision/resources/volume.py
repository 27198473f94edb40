"""A named Docker volume."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from provision.dataclass import dataclass
from provision.resources import docker_cli
from provision.resources.base import Change, Docker, Pending, Section, Step
from provision.resources.docker_cli import Found

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class Volume:
    """A local volume. One that exists is used as it is, whoever made it: labels of a volume cannot be changed."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`volume:NAME`."""
        return f"volume:{self.name}"

    def probe(self) -> str:
        """`docker volume inspect`."""
        return docker_cli.Inspect(("volume", (self.name,)))

    def observe(self, section: Section) -> Found:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        return docker_cli.found(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create` when it is missing."""
        if observed.of("volume"):
            return None
        why = observed.complaint or "not there"
        return Change(self.id, "create", why, after={"name": self.name}, uncertain=bool(observed.complaint))

    def steps(self, change: Change) -> Iterator[Step]:
        """One call."""

        def create(client: "docker.DockerClient") -> None:
            client.volumes.create(self.name, labels={**self.labels, "provision": "volume"})

        yield Docker(create, f"create volume {self.name}")
