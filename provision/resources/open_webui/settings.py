"""Declared settings of Open WebUI, kept in its database: the environment only seeds them at the first start."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.open_webui.instance import Instance, Stored
from provision.resources.open_webui.names import ENGINE, needs_restart
from provision.values import ELIDED, Secret, canonical, quote, sha256

EXACT = ("ollama.api_configs", "openai.api_configs")
"""Mappings by index: a key that is not declared is a connection that is not wanted."""


@dataclass(frozen=True)
class _Import:
    """What is to be imported, each value in a tuple, and whether the server must start again to see it."""

    values: Mapping[str, tuple[Any]]
    restart: bool


@dataclass(frozen=True)
class StoredSettings:
    """Keys of the stored configuration have these values.

    A mapping is compared and merged key by key (`user.permissions` has a hundred of them); anything else, and what
    contains a secret, by equality.

    Args:
        instance: whose; it must ask for these keys.
        values: key -> JSON value; `Secret` anywhere inside.
    """

    instance: Instance
    values: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """`open_webui_settings:CONTAINER`."""
        return f"open_webui_settings:{self.instance.container}"

    def probe(self) -> str:
        """The shared question."""
        return self.instance.probe()

    def observe(self, section: Section) -> Stored:
        """The shared answer."""
        return self.instance.observe(section)

    def plan(self, observed: Stored, pending: Pending) -> Change | None:
        """`update` with the keys that differ."""
        shown = {key: elide(value) for key, value in self.values.items()}
        if observed.complaint:
            why = f"unknown until {self.instance.container} runs"
            return Change(self.id, "update", why, {}, shown, uncertain=True)
        wrong = {key: wanted for key, value in self.values.items() if (wanted := self._wanted(observed, key, value))}
        if not wrong:
            return None
        before = {key: ELIDED if has_secret(self.values[key]) else observed.values.get(key) for key in wrong}
        after = {key: shown[key] for key in wrong}
        why = f"{', '.join(wrong)} {'differs' if len(wrong) == 1 else 'differ'} in the database"
        engine = self.values.get(ENGINE, observed.values.get(ENGINE))
        restart = any(needs_restart(key, engine) for key in wrong)
        if restart:
            why += ", and the server has read it already"
        return Change(self.id, "update", why, before, after, private=_Import(wrong, restart))

    def _wanted(self, observed: Stored, key: str, value: Any) -> tuple[Any] | None:
        """What is to be stored under `key`, in a tuple; None when it is there."""
        plain = reveal(value)
        if has_secret(value):
            return None if observed.hashes.get(key) == sha256(canonical(plain)) else (plain,)
        if key not in observed.values:
            return (plain,)
        there = observed.values[key]
        wanted = plain if key in EXACT else merge(there, plain)
        return None if same(there, wanted) else (wanted,)

    def steps(self, change: Change) -> Iterator[Step]:
        """Import the values; start the server again when it has read them already."""
        if change.uncertain:
            message = (
                f"the database of {self.instance.container} cannot be read; see docker logs {self.instance.container}"
            )
            yield Run(f"echo {quote(message)} >&2; exit 1\n")
            return
        values = {key: wanted[0] for key, wanted in change.private.values.items()}
        script = self.instance.act("settings", values="WEBUI_SETTINGS") + " || exit\n"
        if change.private.restart:
            script += _RESTART.format(container=quote(self.instance.container))
        yield Run(script, timeout=700, secrets={"WEBUI_SETTINGS": json.dumps(values)})


_RESTART = """\
docker restart -t 30 {container} >/dev/null || exit
end=$(($(date +%s) + 300))
until [ "$(docker inspect -f '{{{{.State.Health.Status}}}}' {container} 2>/dev/null)" = healthy ]; do
    [ "$(date +%s)" -lt "$end" ] || {{ echo 'not healthy within 300 s after a restart; see docker logs' >&2; exit 1; }}
    sleep 1
done
"""


def merge(there: Any, wanted: Any) -> Any:
    """`wanted` over `there`: mappings key by key."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        return {**there, **{key: merge(there.get(key), value) for key, value in wanted.items()}}
    return wanted


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same: `1` and `true` are not, `1` and `1.0` are."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def has_secret(value: Any) -> bool:
    """Whether there is a secret anywhere in a JSON value."""
    if isinstance(value, Mapping):
        return any(map(has_secret, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_secret, value))
    return isinstance(value, Secret)


def reveal(value: Any) -> Any:
    """The JSON value with its secrets in the clear.

    Raises:
        InputError: a secret cannot be had.
    """
    return _replace(value, Secret.reveal)


def elide(value: Any) -> Any:
    """The JSON value for a reader."""
    return _replace(value, lambda _secret: ELIDED)


def _replace(value: Any, change: Any) -> Any:
    if isinstance(value, Secret):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _replace(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(inner, change) for inner in value]
    return value
