"""What we own on a host: `/var/lib/provision/state.json`.

It lists every resource that was brought to its declared state, so that a later plan can say what is no longer declared.
Digests are HMACs under a key that never leaves the host's 0600 file but for this comparison: declarations hold secrets,
and a plain hash of a short password can be guessed.
"""

import hashlib
import hmac
import json
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import cached_property

from provision.dataclass import dataclass
from provision.engine.plain import plain
from provision.resources.base import Resource, Run, Section
from provision.values import canonical, quote

FOLDER = "/var/lib/provision"
_FORMAT = 1


@dataclass(frozen=True)
class Owned:
    """One resource: the role that declared it, and the digest of what it declared."""

    role: str
    digest: str


@dataclass(frozen=True)
class State:
    """What the host says that we own. `key` is empty before the first run."""

    owned: Mapping[str, Owned] = field(default_factory=dict)
    key: str = field(default="", repr=False)

    def gone(self, declared: Iterable[str], roles: Iterable[str] | None = None) -> tuple[str, ...]:
        """Owned resources that are not declared. With `roles`, only those that these roles declared."""
        names = set(declared)
        chosen = None if roles is None else set(roles)
        return tuple(
            name for name, owned in self.owned.items() if name not in names and (chosen is None or owned.role in chosen)
        )

    def after(self, resources: Iterable[tuple[str, Resource]]) -> "State":
        """The state once these (role, resource) are as declared. What is no longer declared stays listed."""
        key = self.key or random.token_hex(32)
        owned = dict(self.owned)
        for role, resource in resources:
            if getattr(resource, "owned", True):
                owned[resource.id] = Owned(role, digest(resource, key))
        return State(owned, key)

    @cached_property
    def text(self) -> str:
        """The file's content."""
        entries = {name: {"role": o.role, "digest": o.digest} for name, o in sorted(self.owned.items())}
        return json.dumps({"format": _FORMAT, "resources": entries}, indent=1) + "\n"


def probe(folder: str = FOLDER) -> str:
    """A fragment that prints the key and the file."""
    key, listed = quote(f"{folder}/key"), quote(f"{folder}/state.json")
    return f"[ -s {key} ] || echo\ncat {key} {listed} 2>/dev/null || :\n"


def observe(section: Section) -> State:
    """The state of a probe's answer; a file that is not ours or damaged counts as none."""
    key, _, text = section.text.partition("\n")
    try:
        entries = json.loads(text)["resources"]
        owned = {str(name): Owned(str(entry["role"]), str(entry["digest"])) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        owned = {}
    return State(owned, key.strip())


def write(state: State, folder: str = FOLDER) -> Run:
    """A step that writes it: key 0600, each replaced whole. The key travels as a secret."""
    quoted = quote(folder)
    return Run(
        f"set -e\nmkdir -p {quoted}\nchmod 0700 {quoted}\ncd {quoted}\numask 077\n"
        'printf "%s\\n" "$PROVISION_STATE_KEY" >key.new\n'
        f"printf %s {quote(state.text)} >state.new\nsync key.new state.new 2>/dev/null || sync\n"
        "mv key.new key\nmv state.new state.json\n",
        secrets={"PROVISION_STATE_KEY": state.key},
    )


def digest(resource: Resource, key: str) -> str:
    """The HMAC of what a resource declares."""
    return hmac.new(key.encode(), canonical(plain(resource, top=True)).encode(), hashlib.sha256).hexdigest()[:32]
