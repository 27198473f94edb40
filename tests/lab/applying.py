"""Bring a lab host to a state by the engine itself, from resources instead of an inventory."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from provision.engine.apply import Applied, HostApply
from provision.engine.events import Event
from provision.engine.plan import Declared, Plan, make_plan
from provision.errors import HostError
from provision.host.session import Session
from provision.resources.base import Resource
from tests.lab.hosts import LabHost
from tests.lab.reached import Desk


@dataclass
class Applier:
    """Plans and applies on one host, each time over a new connection, as two runs of the program would."""

    host: LabHost
    desk: Desk
    events: list[Event] = field(default_factory=list)

    def plan(self, *resources: Resource) -> Plan:
        """What would change."""
        with self.desk.session(self.host) as session:
            return make_plan(session, self._declared(resources))

    def apply(self, *resources: Resource) -> Applied:
        """Make it so, and prove it.

        Raises:
            HostError: as the engine does.
        """
        with self.desk.session(self.host) as session:
            return self._apply(session, resources)

    @contextmanager
    def applying(self, *resources: Resource) -> Iterator[Callable[[], None]]:
        """Apply in the background; the function given ends the connection under it."""
        with self.desk.session(self.host) as session:

            def work() -> None:
                with suppress(HostError):
                    self._apply(session, resources)

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            yield session.close
        thread.join(60)

    def _apply(self, session: Session, resources: tuple[Resource, ...]) -> Applied:
        self.events.clear()
        declared = self._declared(resources)
        return HostApply(session, declared, self.events.append, threading.Event(), "a test").run()

    def _declared(self, resources: tuple[Resource, ...]) -> Declared:
        return Declared.of(self.host.name, [("test", resource) for resource in resources])


def actions(applied: Applied) -> list[str]:
    """What was done: `replace container:web`."""
    return [f"{change.action} {change.resource}" for change in applied.changed]
