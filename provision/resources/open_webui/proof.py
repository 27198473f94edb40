"""After a change: the admin signs in, and every backend gives its model list."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.resources.open_webui.instance import Instance


@dataclass(frozen=True)
class Proof:
    """Asks nothing by itself: it acts when one of `after` changes. /ready says nothing about the backends.

    Args:
        instance: whose.
        backends: the URLs in the order in which they are stored.
        after: resources whose change makes it worth proving again.
    """

    owned: ClassVar[bool] = False
    instance: Instance
    backends: tuple[str, ...]
    after: tuple[Resource, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`open_webui_proof:CONTAINER`."""
        return f"open_webui_proof:{self.instance.container}"

    def probe(self) -> str:
        """Nothing."""
        return ":\n"

    def observe(self, section: Section) -> None:
        """Nothing."""

    def plan(self, observed: None, pending: Pending) -> Change | None:
        """`prove` after a change."""
        if earlier := pending.any(*self.after):
            why = f"after {earlier.action} of {earlier.resource}"
            return Change(self.id, "prove", why, {}, {"backends": list(self.backends)})
        return None

    def steps(self, change: Change) -> Iterator[Step]:
        """Sign in and ask, in the container. A backend out of reach on the same host has a usual cause."""
        script = self.instance.act("prove", {"backends": self.backends})
        if any("host.docker.internal" in backend for backend in self.backends):
            hint = (
                "host.docker.internal: Ollama must listen on more than loopback (ollama.listen: lan) and the firewall"
                " must let the bridge in (ufw allow in on docker0 to any port 11434 proto tcp)"
            )
            script = f"error=$({script} 2>&1) || {{ printf '%s; %s\\n' \"$error\" '{hint}' >&2; exit 1; }}"
        yield Run(script + "\n", timeout=330)
