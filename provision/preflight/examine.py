"""Ask the host what the plan depends on, and judge."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from provision import facts
from provision.engine.plan import Plan
from provision.engine.script import LIMIT, probes
from provision.errors import HostError, HostRefused
from provision.facts.model import Identity, Readings
from provision.host.session import Session
from provision.preflight import memory, sources, surroundings
from provision.preflight.finding import Finding
from provision.preflight.memory import Serving, Weights
from provision.resources.base import Resource, Section
from provision.resources.derived_model import DerivedModel
from provision.resources.model_store import Store
from provision.resources.ollama_model import INCOMING, OllamaModel
from provision.values import printable, quote

TIMEOUT = 90.0
"""Seconds for all questions together."""


def examine(
    session: Session,
    plan: Plan,
    identity: Identity,
    settings: Mapping[str, Any],
    *,
    everything: bool = False,
) -> tuple[Finding, ...]:
    """What there is to say about a plan.

    Args:
        session: of the host.
        plan: just made.
        identity: what the host is.
        settings: of its roles, for the variables of its Ollama.
        everything: look at all declared models, also those that are there, and say what is fine too.

    Raises:
        HostError: the host did not answer as it should.
    """
    if not plan.changes and not everything:
        return ()
    wanted = models(plan, everything)
    origins = sources.sources(plan)
    folders = {room.where for room in surroundings.rooms(plan, Readings())} | {INCOMING, surroundings.CONTAINERD}
    questions = {"readings": facts.script(readings=True, paths=sorted(folders))}
    questions |= {source.subject: sources.question(source) for source in origins}
    questions |= {model.id: _show(model) for model in wanted if _is_there(model, plan)}
    answers = _asked(session, questions, sources.proxy(plan))
    readings = facts.parse(answers["readings"].out).readings
    file_systems = {one.path: one for one in readings.file_systems}
    found = [
        *surroundings.clock(readings, time.time()),
        *surroundings.ports(plan, readings),
        *surroundings.disks(surroundings.rooms(plan, readings), file_systems),
        *(sources.judged(source, answers[source.subject]) for source in origins),
    ]
    shown = [*found] if everything else [one for one in found if one.level != "ok"]
    shown += verdicts(wanted, plan, identity, settings, answers)
    return tuple(shown)


def refuse(host: str, findings: tuple[Finding, ...]) -> None:
    """Raise for what cannot work.

    Raises:
        HostRefused: with the first refusal.
    """
    refused = [one for one in findings if one.level == "refused"]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        hint = "nothing was touched; --skip-preflight goes on all the same"
        raise HostRefused(host, f"{refused[0].subject}: {refused[0].text}{more}", hint)


Model = OllamaModel | DerivedModel


def models(plan: Plan, everything: bool) -> tuple[Model, ...]:
    """The models that will be made, or all declared ones."""
    changing = {change.resource for change in plan.changes}
    return tuple(
        resource
        for resource in plan.declared.resources
        if isinstance(resource, OllamaModel | DerivedModel) and (everything or resource.id in changing)
    )


def weights_of(model: Model, plan: Plan, info: Mapping[str, Any]) -> Weights | None:
    """What is known of a model: as the server has it, its file, the registry's offer, its name.

    Args:
        model: declared.
        plan: with what was observed.
        info: its `model_info` if the server has it.
    """
    if isinstance(model, DerivedModel) and isinstance(model.base, OllamaModel | DerivedModel):
        return weights_of(model.base, plan, info)
    name = model.local
    listed = memory.known(name) or (memory.known(model.remote) if isinstance(model, OllamaModel) else None)
    shape = memory.shape_of(info) or (listed.shape if listed else None)
    store = plan.observation.of.get(model.id)
    files = model.files if isinstance(model, DerivedModel) else tuple(filter(None, [model.gguf]))
    if files:
        return Weights(sum(file.stat().st_size for file in files), "its file", shape)
    if isinstance(store, Store) and (tag := store.tag(name)):
        return Weights(tag.size, "as the server has it", shape)
    if isinstance(store, Store) and store.registry and store.registry.size:
        return Weights(store.registry.size, "as the registry says", shape)
    return listed or memory.guessed(name)


def verdicts(
    wanted: tuple[Model, ...],
    plan: Plan,
    identity: Identity,
    settings: Mapping[str, Any],
    answers: Mapping[str, Section],
) -> Iterator[Finding]:
    """Of each model whether its memory suffices; of a driver that is to come that it must be known first."""
    if wanted and (driver := _coming(plan)):
        # Its memory is not known yet: the models are judged when it works.
        yield Finding("warning", driver, "what models need of the GPU is looked at once it works")
        return
    room = memory.Room.of(identity)
    environment = dict(getattr(settings.get("ollama"), "environment", {}))
    for model in wanted:
        weights = weights_of(model, plan, _info(answers.get(model.id)))
        if weights is None:
            text = f"its size is not known: the registry did not say, nor does the name {model.name}"
            yield Finding("warning", model.id, text)
        else:
            yield memory.verdict(model.id, weights, Serving.of(environment, _context(model)), room)


def _coming(plan: Plan) -> str:
    """The driver that this plan brings up, or ""."""
    changing = {change.resource for change in plan.changes}
    coming = (one.id for one in plan.declared.resources if one.id in changing and getattr(one, "redefines", False))
    return next(coming, "")


def _context(model: Resource | None) -> int | None:
    """`num_ctx` of a derived model, its own or that of what it is derived from."""
    while isinstance(model, DerivedModel):
        value = model.modelfile.parameters.get("num_ctx")
        if isinstance(value, int):
            return value
        model = model.base
    return None


def _is_there(model: Model, plan: Plan) -> bool:
    store = plan.observation.of.get(model.id)
    return isinstance(store, Store) and store.tag(model.local) is not None


def _show(model: Model) -> str:
    body = quote(json.dumps({"model": str(model.local)}))
    return f"curl -sS -f --noproxy '*' --max-time 10 --data-binary {body} {quote(model.server.url('show'))}\n"


def _info(section: Section | None) -> Mapping[str, Any]:
    if section is None or section.rc:
        return {}
    try:
        info = json.loads(section.out).get("model_info")
    except (ValueError, AttributeError):
        return {}
    return info if isinstance(info, dict) else {}


def _asked(session: Session, questions: Mapping[str, str], proxy: Mapping[str, str]) -> dict[str, Section]:
    script = probes(questions)
    answer = session.run(script.text, timeout=TIMEOUT, secrets=proxy, limit=4 * LIMIT * len(script.names))
    try:
        return script.parse(answer.out)
    except ValueError as error:
        said = f": {printable(answer.complaint, 300)}" if answer.rc else ""
        raise HostError(session.name, f"preflight got no answer ({error}){said}") from error
