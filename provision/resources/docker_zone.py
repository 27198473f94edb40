"""firewalld knows Docker's bridge: Docker puts it into a zone of its own, if firewalld runs when the engine starts."""

from collections.abc import Iterator
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.resources.docker_config import KEEP_CONTAINERS
from provision.resources.host_firewall import FIREWALLD

_ZONE_CALL = "org.fedoraproject.FirewallD1 /org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.zone"


@dataclass(frozen=True)
class DockerZone:
    """Where firewalld is active, the bridge `docker0` is in a zone other than the default one.

    An engine that started before firewalld never hears of it (moby: libnetwork/iptables/firewalld.go): what its
    containers send is judged by the default zone, which rejects it. It is started anew.

    Args:
        after: resources whose change starts the engine anew; then the host is asked again.
    """

    after: tuple[Resource | str, ...] = field(default=("service:docker",), repr=False)

    @property
    def id(self) -> str:
        """`docker-zone:docker`."""
        return "docker-zone:docker"

    def probe(self) -> str:
        """`zone=NAME` where firewalld is active, there is such a bridge, and Docker may set up its network."""
        return _PROBE

    def observe(self, section: Section) -> str | None:
        """The zone of docker0, "" for none; None where nobody asks for one."""
        zones = [line.removeprefix("zone=") for line in section.lines if line.startswith("zone=")]
        return zones[0] if zones else None

    def plan(self, observed: str | None, pending: Pending) -> Change | None:
        """`restart` the engine."""
        if observed is None or observed:
            return None
        why = "the engine started before firewalld, which rejects what its containers send"
        earlier = pending.any(*self.after)
        return Change(self.id, "restart", why, {"zone": ""}, {"zone": "docker"}, uncertain=earlier is not None)

    def steps(self, change: Change) -> Iterator[Step]:
        """One script; containers stay where live-restore counts."""
        yield Run(KEEP_CONTAINERS + "systemctl restart docker.service\n", timeout=120)


_PROBE = f"""\
if [ -d /sys/class/net/docker0 ] && {{ {FIREWALLD}; }} &&
    ! grep -qs '"iptables"[[:space:]]*:[[:space:]]*false' /etc/docker/daemon.json; then
    said=$(timeout 10 busctl call {_ZONE_CALL} getZoneOfInterface s docker0) || exit 1
    said=${{said#s \\"}}
    echo "zone=${{said%\\"}}"
fi
"""
