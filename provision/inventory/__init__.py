"""Ansible's YAML inventory to a typed fleet.

`load(path, schemas)` gives a `Fleet` of `Host`s, or an `InputError` with every mistake as `file:line:column: message`.
Nothing here knows a role: the settings models are passed in (`provision.roles.RoleSchemas`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provision.inventory.fleet import Connection, Fleet, Host
    from provision.inventory.reader import load

__all__ = ["Connection", "Fleet", "Host", "load"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: `provision --help` must not pay for YAML and pydantic.
    if name == "load":
        from provision.inventory.reader import load

        return load
    if name in __all__:
        from provision.inventory import fleet

        return getattr(fleet, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
