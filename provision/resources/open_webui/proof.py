"""The admin signs in, and every backend gives its model list to the container that runs."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import ClassVar
from urllib.parse import urlsplit

from provision.backends import HOST_OF_BRIDGE
from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Section, Step
from provision.resources.open_webui.instance import Instance, Stored
from provision.values import printable


@dataclass(frozen=True)
class Proof:
    """/ready says nothing about the backends, so each is asked through Open WebUI after a change.

    One that did not answer is asked again by the next run. Whether those that did answer still do is what `verify`
    asks: a plan reaches no other host.

    Args:
        instance: whose.
        backends: the URLs in the order in which they are stored.
        hosts: URL -> name of the host in the inventory, for messages.
        after: resources whose change makes it worth proving again.
    """

    owned: ClassVar[bool] = False
    instance: Instance
    backends: tuple[str, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)
    after: tuple[Resource, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`open_webui_proof:CONTAINER`."""
        return f"open_webui_proof:{self.instance.container}"

    def probe(self) -> str:
        """The shared question."""
        return self.instance.probe()

    def observe(self, section: Section) -> Stored:
        """The shared answer."""
        return self.instance.observe(section)

    def plan(self, observed: Stored, pending: Pending) -> Change | None:
        """`prove` after a change, and while a backend has not answered."""
        after = {"backends": list(self.backends)}
        if earlier := pending.any(*self.after):
            return Change(self.id, "prove", f"after {earlier.action} of {earlier.resource}", {}, after)
        if observed.complaint:
            why = f"unknown until {self.instance.container} runs"
            return Change(self.id, "prove", why, {}, after, uncertain=True)
        if silent := [self._name(url) for url in self.backends if url not in observed.proven]:
            why = f"{', '.join(silent)} gave no model list yet"
            before = {"backends": sorted(printable(url, 200) for url in observed.proven)}
            return Change(self.id, "prove", why, before, after)
        return None

    def steps(self, change: Change) -> Iterator[Step]:
        """Sign in and ask, in the container."""
        backends = [{"url": url, "name": self._name(url), "hint": _hint(url)} for url in self.backends]
        yield self.instance.run("prove", {"backends": backends})

    def _name(self, url: str) -> str:
        return f"{url} ({self.hosts[url]})" if url in self.hosts else url


def _hint(url: str) -> str:
    """What is usually in the way when a container does not reach its own host."""
    parts = urlsplit(url)
    if parts.hostname != HOST_OF_BRIDGE:
        return ""
    return (
        "Ollama must listen on more than loopback (ollama.listen: lan) and this host's firewall must let docker0 in"
        f" (ufw allow in on docker0 to any port {parts.port or 80} proto tcp)"
    )
