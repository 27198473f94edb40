"""A user-defined Docker network."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from provision.dataclass import dataclass
from provision.resources import docker_cli
from provision.resources.base import Change, Docker, Pending, Section, Step
from provision.resources.docker_cli import PUBLIC, Found
from provision.values import canonical

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class Network:
    """A network of the host's Docker engine. One that exists is used when driver, subnet and reach agree.

    Args:
        name: its name.
        driver: `bridge` on single hosts.
        subnet: CIDR, or None for Docker's choice.
        internal: no way out of it.
        labels: further labels.
    """

    name: str
    driver: str = "bridge"
    subnet: str | None = None
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`network:NAME`."""
        return f"network:{self.name}"

    @property
    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"driver": self.driver, "internal": self.internal}
        return {**spec, "subnet": self.subnet} if self.subnet else spec

    def probe(self) -> str:
        """`docker network inspect`."""
        return docker_cli.Inspect(("network", (self.name,)))

    def observe(self, section: Section) -> Found:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        return docker_cli.found(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create` when it is missing, `replace` when it is another kind of network."""
        there = [item for item in observed.of("network") if item.get("Name") == self.name]
        if not there:
            why = observed.complaint or "not there"
            return Change(self.id, "create", why, after=self._spec, uncertain=bool(observed.complaint))
        before = _read(there[0])
        changed = [key for key, value in self._spec.items() if before.get(key) != value]
        if not changed:
            return None
        used = sorted(str(item.get("Name")) for item in (there[0].get("Containers") or {}).values())
        why = f"{', '.join(changed)} changed" + (f"; used by {', '.join(used)}" if used else "")
        return Change(self.id, "replace", why, {key: before.get(key) for key in changed}, self._spec, private=used)

    def steps(self, change: Change) -> Iterator[Step]:
        """One call. A network with containers in it is not pulled away from under them."""

        def make(client: "docker.DockerClient") -> None:
            import docker

            if change.private:
                raise ValueError(f"containers use it: {', '.join(change.private)}; stop them first")
            if change.action == "replace":
                client.networks.get(self.name).remove()
            pools = [docker.types.IPAMPool(subnet=self.subnet)] if self.subnet else None
            client.networks.create(
                self.name,
                driver=self.driver,
                internal=self.internal,
                ipam=docker.types.IPAMConfig(pool_configs=pools) if pools else None,
                labels={**self.labels, PUBLIC: canonical(self._spec)},
            )

        yield Docker(make, f"{change.action} network {self.name}")


def _read(item: dict[str, Any]) -> dict[str, Any]:
    pools = (item.get("IPAM") or {}).get("Config") or [{}]
    return {"driver": item.get("Driver"), "internal": item.get("Internal"), "subnet": pools[0].get("Subnet")}
