"""Hosts that were reached in this run: each once, whoever needs it first.

A host is needed for its own work, and by others for its address when the inventory does not say one.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from typing import TYPE_CHECKING

from provision.dataclass import dataclass
from provision.errors import HostError, HostRefused, ProvisionError
from provision.host.session import Session
from provision.host.target import Target
from provision.inventory.fleet import Fleet, Host
from provision.values import Secret, printable

if TYPE_CHECKING:
    from provision.facts.model import Identity

IDENTITY_TIMEOUT = 60.0
CLOSING = 0.5
"""Seconds for all connections that are ended at once; what is not closed by then ends with the program."""


@dataclass(frozen=True)
class Reached:
    """A session, and what the host is."""

    session: Session
    identity: "Identity"


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    since: float = 0.0
    result: Reached | ProvisionError | None = None
    open: bool = True


class Reach:
    """Makes the connections of one run.

    Args:
        fleet: with all hosts, also those that are not worked on. Of a host only its connection and address count.
        password: typed at a prompt, for hosts whose inventory has none.
        become_password: the same for sudo and su.
        connect: makes a session.
        stale: s after which a connection that was made for a peer's sake is made anew for the host's own work.
    """

    def __init__(
        self,
        fleet: Fleet,
        password: Secret | None = None,
        become_password: Secret | None = None,
        connect: Callable[[Target], Session] | None = None,
        stale: float = 60.0,
    ) -> None:
        self.fleet, self.password, self.become_password = fleet, password, become_password
        self._connect, self._stale = connect, stale
        self._places = {name: _Place() for name in fleet.hosts}
        self._closed = False

    def begin(self, names: Iterable[str]) -> None:
        """Connect to these at once and in the background; `host` gives what came of it."""
        names = list(names)
        # Not in the threads: they would share the interpreter with what the caller loads next, and two threads that
        # load a package and a module of it wait for each other (importlib's `_DeadlockError`).
        from provision import facts  # noqa: F401
        from provision.host import connect

        connect.load({self.fleet.hosts[name].connection.kind for name in names})
        for name in names:
            # Nobody waits for them: a program that ends because of a mistake ends at once.
            threading.Thread(target=self._result, args=(name,), name=f"reach {name}", daemon=True).start()

    def host(self, name: str) -> Reached:
        """Connect and ask what the host is; the second time, the first answer.

        Raises:
            HostError: it cannot be reached, or did not answer.
        """
        result = self._result(name)
        if isinstance(result, ProvisionError):
            raise result
        return result

    def supported(self, name: str) -> Reached:
        """The same, for a host that is to be changed.

        Raises:
            HostRefused: its system cannot be served.
        """
        from provision.facts.support import refusal

        reached = self.host(name)
        if reason := refusal(reached.identity):
            raise HostRefused(name, reason)
        place = self._places[name]
        if time.monotonic() - place.since > self._stale:
            # It lay idle while others were worked on; firewalls forget such connections without a word.
            reached.session.close()
            reached = Reached(self._open(self.fleet.hosts[name]), reached.identity)
            place.result, place.since, place.open = reached, time.monotonic(), True
        return reached

    def anew(self, name: str) -> Reached:
        """Ask once more what a host is: a driver or a reboot made another one of it.

        Raises:
            HostError: it did not answer.
        """
        session = self.host(name).session
        reached = Reached(session, identity(session))
        self._places[name].result = reached
        return reached

    def address(self, name: str, of: str) -> str:
        """Where `of`'s peers reach it: declared, else its own primary address.

        Args:
            name: the host that wants to know, for messages.
            of: the peer.

        Raises:
            HostError: it is not declared, and the peer cannot be asked.
        """
        if declared := self.fleet.hosts[of].address:
            return declared
        try:
            found = self.host(of).identity.address
        except HostError as error:
            hint = f"set `address` of {of} in the inventory"
            raise HostError(name, f"needs the address of {of}, which cannot be asked ({error})", hint) from error
        if not found:
            raise HostError(name, f"{of} has no primary address", f"set `address` of {of} in the inventory")
        return found

    def close(self) -> None:
        """End all connections at once; one that is still being made ends as soon as it stands.

        A host that holds its connection is not waited for longer than `CLOSING`.
        """
        self._closed = True
        names = [name for name, place in self._places.items() if isinstance(place.result, Reached) and place.open]
        threads = [threading.Thread(target=self._let_go, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        until = time.monotonic() + CLOSING
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _let_go(self, name: str) -> None:
        with contextlib.suppress(HostError, OSError):
            self.release(name)

    def release(self, name: str) -> None:
        """End the connection to one host; its answers stay known."""
        place = self._places[name]
        if isinstance(place.result, Reached):
            place.open = False
            place.result.session.close()

    def _result(self, name: str) -> Reached | ProvisionError:
        place = self._places[name]
        with place.lock:
            if place.result is None:
                place.since = time.monotonic()
                try:
                    place.result = self._reach(self.fleet.hosts[name])
                except ProvisionError as error:
                    place.result = error
                if self._closed:
                    self.release(name)
        return place.result

    def _reach(self, host: Host) -> Reached:
        session = self._open(host)
        try:
            return Reached(session, identity(session))
        except ProvisionError:
            session.close()
            raise

    def _open(self, host: Host) -> Session:
        return (self._connect or _connect())(self.target(host))

    def target(self, host: Host) -> Target:
        """How the host is reached, with what was typed at prompts."""
        target = target_of(host)
        return replace(
            target,
            password=self.password or target.password,
            become_password=self.become_password or target.become_password,
        )


def target_of(host: Host) -> Target:
    """How the inventory says that a host is reached.

    Root is needed: where `ansible_become` is not set, it is reached by sudo unless the login is root.
    """
    known = host.connection
    return Target(
        name=host.name,
        kind=known.kind,
        host=known.host,
        port=known.port,
        user=known.user,
        password=known.password,
        private_key=known.private_key,
        become=known.become or "ansible_become" not in host.vars,
        become_method=known.become_method,
        become_user=known.become_user,
        become_password=known.become_password,
        jump=known.jump,
        proxy_command=known.proxy_command,
        config_file=known.config_file,
        options=known.options,
    )


def identity(session: Session) -> "Identity":
    """What a host is, in one request.

    Raises:
        HostError: it did not answer as it should.
    """
    from provision import facts

    answer = session.run(facts.script(readings=False), timeout=IDENTITY_TIMEOUT)
    found = facts.parse(answer.out)
    if not found.complete:
        said = printable(answer.complaint, 300)
        raise HostError(session.name, f"the question what it is did not come to its end: {said}")
    return found.identity


def _connect() -> Callable[[Target], Session]:
    from provision.host.connect import connect

    return connect
