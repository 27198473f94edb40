"""The admin account in Open WebUI's database."""

from collections.abc import Iterator
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.resources.open_webui.instance import Instance, Stored
from provision.values import quote


@dataclass(frozen=True)
class Admin:
    """The account of the inventory is there, active, admin, and has the declared password.

    On an empty database the container makes it by itself before it listens; this resource proves it by a sign-in and
    repairs it: another password, another role, or missing in a database that was there before.

    Args:
        instance: whose.
        password: the resource that keeps the password's file; when it changes, so does the account.
    """

    instance: Instance
    password: Resource = field(repr=False)

    @property
    def id(self) -> str:
        """`open_webui_admin:EMAIL`."""
        return f"open_webui_admin:{self.instance.email}"

    def probe(self) -> str:
        """The shared question."""
        return self.instance.probe()

    def observe(self, section: Section) -> Stored:
        """The shared answer."""
        return self.instance.observe(section)

    def plan(self, observed: Stored, pending: Pending) -> Change | None:
        """`create`, `update` or `prove` (the account is there, but nobody signed in with this password yet)."""
        after = {"role": "admin", "active": True}
        if observed.complaint:
            why = f"unknown until {self.instance.container} runs"
            return Change(self.id, "create", why, {}, after, uncertain=True)
        account = observed.admin
        if account is None:
            return Change(self.id, "create", f"not among the {observed.users} users", {}, after)
        before = {"role": account.role, "active": account.active}
        if before != after:
            wrong = " and ".join(name for name in after if before[name] != after[name])
            return Change(self.id, "update", f"another {wrong}", before, after)
        if pending.any(self.password):
            return Change(self.id, "update", "the declared password changes", before, after)
        if not account.proven:
            return Change(self.id, "prove", "the declared password was not proven by a sign-in", before, after)
        return None

    def steps(self, change: Change) -> Iterator[Step]:
        """Let the container do it; keep the proof on the host."""
        proof = f"{self.instance.home}/admin_proof"
        yield Run(
            "umask 077\n"
            f"proof=$({self.instance.act('admin')}) || exit\n"
            f"printf '%s\\n' \"$proof\" >{quote(proof + '.new')} && mv -f {quote(proof + '.new')} {quote(proof)}\n",
            timeout=330,
        )
