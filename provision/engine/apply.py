"""Bring one host to its declared state, and prove it: lock, plan, execute, ask again."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from provision.engine import state
from provision.engine.events import ChangeProgress, Emit, HostPlanned, Note
from provision.engine.execute import Executor
from provision.engine.plan import Declared, Plan, make_plan, observe, planned
from provision.engine.state import State
from provision.errors import HostError, HostRefused, Interrupted, ProvisionError, ResourceFailed
from provision.host.session import Session
from provision.resources.base import Change, Job, Pending, Progress
from provision.values import printable

UNTIL_DONE = 24 * 3600.0
"""Seconds that a job which another run left behind is waited for."""

_NAMED = 12
"""How many resources that were not begun are named."""


@dataclass
class Applied:
    """What was done on a host, also when it ended with an error."""

    changed: list[Change] = field(default_factory=list)
    unchanged: int = 0


class HostApply:
    """The apply of one host.

    Args:
        session: with root.
        declared: what is to be true.
        emit: gets the events.
        stop: set when nothing new may start.
        owner: who this is, for others that find the lock taken.
        must_be: called with the plan that was made under the lock; raises when it is not the one that was agreed to.
        preflight: called with the first plan when it has changes, and with the one after `declare`; raises when they
            cannot work there.
        declare: asks anew what the host is and what its roles declare: called when a change made another host of it,
            such as one whose GPU now works. None: what was declared at first is all that is done.
    """

    def __init__(
        self,
        session: Session,
        declared: Declared,
        emit: Emit,
        stop: threading.Event,
        owner: str,
        must_be: Callable[[Plan], None] | None = None,
        preflight: Callable[[Plan], None] | None = None,
        declare: Callable[[], Declared] | None = None,
    ) -> None:
        self.session, self.declared, self.emit, self.stop, self.owner = session, declared, emit, stop, owner
        self.must_be, self.preflight, self.declare = must_be, preflight, declare
        self.applied = Applied()

    def run(self) -> Applied:
        """Do it. What was done so far is in `applied` when this raises.

        Raises:
            ResourceFailed: a resource could not be brought to its state, or differs still after it was changed.
            HostError: anything else about the host.
            InputError: a resource's program is wrong.
            Interrupted: `stop` was set.
        """
        plan = make_plan(self.session, self.declared)
        self._announce(plan)
        before = plan.observation.state
        if not plan.changes and self._state_after(before, set()).owned == before.owned:
            if self.must_be:
                self.must_be(plan)
            self._remark(plan)
            return self.applied
        if self.preflight and plan.changes:
            self.preflight(plan)
        # Somebody else may have worked here in between: the plan that counts is made under the lock.
        self.session.lock(self.owner)
        self._rejoin()
        again = make_plan(self.session, self.declared)
        if again.changes != plan.changes:
            self._announce(again)
        if self.must_be:
            self.must_be(again)
        self._converge(again)
        return self.applied

    def _announce(self, plan: Plan) -> None:
        self.applied.unchanged = plan.unchanged
        self.emit(
            HostPlanned(host=plan.host, changes=plan.changes, unchanged=plan.unchanged, no_longer_declared=plan.gone)
        )

    def _rejoin(self) -> None:
        """Wait for the jobs that an interrupted run left running; what they did shows in the plan that follows.

        Their script is not sent again: it runs, or it has ended and there is nothing to wait for.
        """
        for name in self.session.jobs():
            self.emit(Note(host=self.declared.host, text=f"waiting for the job {name} of an earlier run"))
            job = Job(name, script="exit 0", progress=_still_running, timeout=UNTIL_DONE)
            self.session.job(job, partial(self._waiting, name))

    def _waiting(self, name: str, progress: Progress) -> None:
        if self.stop.is_set():
            raise Interrupted(f"{self.declared.host}: stopped waiting for the job {name}")
        self.emit(ChangeProgress(host=self.declared.host, resource=f"job:{name}", text=progress.text or "running"))

    def _converge(self, plan: Plan) -> None:
        """Change, then ask again; what a change brought to light is changed too, but nothing twice."""
        executor = Executor(self.declared.host, self.session, self.emit, self.stop)
        changed: dict[str, Change] = {}
        round_began = 0
        try:
            while plan.changes:
                round_began = len(executor.done)
                if stubborn := next((change for change in plan.changes if change.resource in changed), None):
                    raise ResourceFailed(self.declared.host, stubborn.resource, f"did not converge: {stubborn.why}")
                another = self._execute(executor, plan, changed)
                if another and self.declare:
                    self.declared = self.declare()
                plan = make_plan(self.session, self.declared)
                if another:
                    self._announce(plan)
                    self._examine_again(plan)
        except ProvisionError as error:
            settled = {change.resource for change in executor.done[round_began:]}
            left = {change.resource for change in plan.changes} - settled
            if isinstance(error, ResourceFailed):
                self._tell_not_begun(plan, error.resource)
            self._count(executor, left)
            # Why the run failed is the news; that its state could not be written either is not.
            with contextlib.suppress(HostError):
                self._save(plan.observation.state, left)
            raise
        self._count(executor, set())
        self._save(plan.observation.state, set())
        self._remark(plan)

    def _examine_again(self, plan: Plan) -> None:
        """Models are judged by the memory of a GPU that works now.

        Raises:
            HostRefused: they do not fit.
        """
        if not (self.preflight and self.declare and plan.changes):
            return
        try:
            self.preflight(plan)
        except HostRefused as error:
            hint = "what stood before it was done; --skip-preflight goes on all the same"
            raise HostRefused(error.host, error.message, hint) from error

    def _remark(self, plan: Plan) -> None:
        for text in plan.remarks:
            self.emit(Note(host=plan.host, text=text))

    def _execute(self, executor: Executor, plan: Plan, changed: dict[str, Change]) -> bool:
        """Whether the host may be another one to its roles now: what is left of the plan is not done."""
        resources = {resource.id: resource for resource in self.declared.resources}
        for change in plan.changes:
            resource, current = resources[change.resource], change
            redefines = getattr(resource, "redefines", False)
            if change.uncertain:
                executor.flush()
                observed = observe(self.session, self.declared, resource).of[resource.id]
                settled = planned(self.declared, resource, observed, Pending())
                if settled is None:
                    if redefines:
                        return True
                    continue
                current = settled
            changed[resource.id] = current
            executor.change(resource, current, partial(self.declared.own_program, resource))
            if redefines:
                executor.flush()
                return True
        executor.flush()
        return False

    def _tell_not_begun(self, plan: Plan, failed: str) -> None:
        """Resources may need those before them: what comes after a failure waits for the next run."""
        names = [change.resource for change in plan.changes]
        if failed in names and (later := names[names.index(failed) + 1 :]):
            rest = f" and {len(later) - _NAMED} more" if len(later) > _NAMED else ""
            text = f"not begun, as {failed} failed: {', '.join(later[:_NAMED])}{rest}"
            self.emit(Note(host=self.declared.host, text=text))

    def _count(self, executor: Executor, left: set[str]) -> None:
        touched = {change.resource for change in executor.done} | left
        self.applied.changed = executor.done
        self.applied.unchanged = len(self.declared.entries) - len(touched)

    def _state_after(self, before: State, without: set[str]) -> State:
        return before.after((role, resource) for role, resource in self.declared.entries if resource.id not in without)

    def _save(self, before: State, without: set[str]) -> None:
        """Write what we own now, if that is news.

        Raises:
            HostError: it cannot be written.
        """
        after = self._state_after(before, without)
        if after.owned == before.owned:
            return
        step = state.write(after)
        answer = self.session.run(step.script, timeout=step.timeout, secrets=step.secrets)
        if answer.rc:
            why = printable(answer.complaint, 300)
            raise HostError(self.declared.host, f"cannot write {state.FOLDER}/state.json: {why}")


def _still_running(_line: str) -> Progress | None:
    """A line of a job whose resource is not known here: that there is one is all that can be said."""
    return Progress("running")
