"""A plan in a file: what was agreed to. `apply FILE` plans again and refuses when anything differs.

It holds digests of the inventory, the roles, the templates and of what was observed, and the changes as they were
printed; no scripts and no secrets.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from provision.data import search_path
from provision.dataclass import dataclass
from provision.engine.events import change_as_json
from provision.engine.mask import masked_value
from provision.engine.plan import Plan
from provision.errors import HostRefused, InputError
from provision.inventory.fleet import Fleet
from provision.roles import role_files
from provision.values import canonical, sha256

_FORMAT = 1


@dataclass(frozen=True)
class PlanFile:
    """A plan that was made for some hosts.

    Args:
        inventory: its path as it was named, absolute.
        roles: what `--roles` said; None: all.
        inputs: `inventory`, `roles`, `templates` -> digest.
        hosts: name -> digest of what was observed, changes as JSON values.
    """

    inventory: Path
    roles: tuple[str, ...] | None
    inputs: Mapping[str, str]
    hosts: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, fleet: Fleet, roles: Iterable[str] | None, plans: Iterable[Plan]) -> "PlanFile":
        """From plans that were just made."""
        chosen = None if roles is None else tuple(roles)
        return cls(fleet.path.resolve(), chosen, input_digests(fleet), {plan.host: _host(plan) for plan in plans})

    @classmethod
    def read(cls, path: Path) -> "PlanFile":
        """From a file.

        Raises:
            InputError: it is no plan of this version.
        """
        try:
            data = json.loads(path.read_text())
            if data["provision_plan"] != _FORMAT:
                raise InputError(f"{path}: a plan of another version of provision; make a new one")
            roles = None if data["roles"] is None else tuple(data["roles"])
            return cls(Path(data["inventory"]), roles, dict(data["inputs"]), dict(data["hosts"]))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a plan made by `provision plan -o`") from error

    def write(self, path: Path) -> None:
        """To a file that only its owner can read.

        Raises:
            InputError: it cannot be written.
        """
        data = {
            "provision_plan": _FORMAT,
            "inventory": str(self.inventory),
            "roles": self.roles,
            "inputs": dict(self.inputs),
            "hosts": dict(self.hosts),
        }
        try:
            path.touch(mode=0o600)
            path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error

    def check_inputs(self, fleet: Fleet) -> None:
        """The inventory, roles and templates are those that the plan was made from.

        Raises:
            InputError: they are not.
        """
        now = input_digests(fleet)
        changed = [name for name, digest in self.inputs.items() if now.get(name) != digest]
        if changed:
            raise InputError(f"since this plan was made, {' and '.join(changed)} changed", "make a new plan")

    def check(self, plan: Plan) -> None:
        """This plan, made now, is the one in the file.

        Raises:
            HostRefused: it is not; the message says what differs.
        """
        agreed, now = self.hosts[plan.host], _host(plan)
        if agreed == now:
            return
        hint = "look at a new plan: `provision plan -o FILE`"
        before = {change["resource"]: change for change in agreed["changes"]}
        after = {change["resource"]: change for change in now["changes"]}
        different = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        what = f"{', '.join(different[:3])} would be changed otherwise" if different else "the host is not as it was"
        raise HostRefused(plan.host, f"not the plan of the file: {what}", hint)


def input_digests(fleet: Fleet) -> dict[str, str]:
    """Digests of all files that decide what a host should be."""
    used = {role for host in fleet.hosts.values() for role in host.roles}
    roles = [path for name, path in role_files(fleet.path).items() if name in used]
    templates = [
        path for folder in search_path("templates", fleet.path) for path in folder.rglob("*") if path.is_file()
    ]
    return {"inventory": _digest(fleet.files), "roles": _digest(roles), "templates": _digest(templates)}


def _digest(files: Iterable[Path]) -> str:
    return sha256("\n".join(f"{path.name} {sha256(path.read_bytes())}" for path in sorted(set(files))))


def _host(plan: Plan) -> dict[str, Any]:
    """A host's part. What was observed counts as the resources saw it: as declared, or what stood there before.

    Not byte by byte: free space and process numbers are other ones a second later.
    """
    changes = json.loads(json.dumps([change_as_json(change) for change in plan.changes], default=str))
    changing = {change.resource for change in plan.changes}
    observed = {resource.id: resource.id in changing for resource in plan.declared.resources}
    before = {change["resource"]: change["before"] for change in changes}
    return {
        "observed": sha256(canonical([observed, before])),
        "changes": masked_value(changes),
        "no_longer_declared": list(plan.gone),
    }
