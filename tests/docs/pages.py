"""docs/roles.md and docs/resources.md, made from docstrings and settings models."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import provision.resources
from provision.roles import load_role
from tests.docs import commands, sabotages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROLES = ("base", "docker", "nvidia", "ollama", "models", "open_webui")
NOTE = "<!-- Made by `make docs`; a test compares it with the code. -->"


def pages() -> dict[str, str]:
    """File name below docs/ -> text."""
    return {
        "roles.md": roles_page(),
        "resources.md": resources_page(),
        "cli.md": commands.page(),
        "verify.md": sabotages.page((DOCS / "verify.md").read_text()),
    }


def roles_page() -> str:
    """Every built-in role with its settings."""
    parts = [NOTE, "# Roles", "What each role does, and what may stand under its name in the inventory."]
    for name in ROLES:
        module = load_role(name)
        parts += [f"## {name}", inspect.cleandoc(module.__doc__ or ""), *settings_tables(module.Settings)]
    return "\n\n".join(parts) + "\n"


def settings_tables(model: type[BaseModel]) -> Iterator[str]:
    """A table of the model's fields, then one for each model that a field is made of."""
    rows = ["| setting | type | default | what it is |", "|---|---|---|---|"]
    nested: list[type[BaseModel]] = []
    for name, field in model.model_fields.items():
        label = "(the value itself)" if name == "root" else f"`{field.alias or name}`"
        kind = type_name(field.annotation).replace("|", "\\|")
        rows.append(f"| {label} | {kind} | {default(field)} | {cell(field)} |")
        nested += [found for found in models_in(field.annotation) if found not in nested]
    if len(rows) > 2:
        yield "\n".join(rows)
    for found in nested:
        text = inspect.cleandoc(found.__doc__ or "").splitlines()
        yield f"### {found.__name__}\n\n{text[0] if text else ''}"
        yield from settings_tables(found)


def cell(field: FieldInfo) -> str:
    """A field's description and first example, on one line."""
    text = " ".join((field.description or "").split())
    example = f" For example `{field.examples[0]}`." if field.examples else ""
    return (text + example).replace("|", "\\|")


def default(field: FieldInfo) -> str:
    """A field's default as it would stand in YAML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=False)
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in ("", (), [], {}) else "empty"


def type_name(annotation: Any) -> str:
    """A type as an admin would say it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(args[0])
    if origin is typing.Literal:
        return " or ".join(f"`{arg}`" for arg in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in args if arg is not type(None))
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_name(args[0])}"
    if origin is not None and args and len(args) == 2:
        return f"mapping to {type_name(args[1])}"
    names = {str: "text", bool: "`true` or `false`", int: "number", float: "number", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings models that a field's type mentions."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for arg in typing.get_args(annotation):
        yield from models_in(arg)


def resources_page() -> str:
    """Every resource class with its docstring and fields."""
    parts = [NOTE, "# Resources", "What a role can declare. Each is a frozen dataclass; see writing-a-role.md."]
    for kind in sorted(resource_classes(), key=lambda found: found.__name__):
        parts += [f"## {kind.__name__}", f"`{kind.__module__}`", inspect.cleandoc(kind.__doc__ or "")]
        fields = "\n".join(
            f"    {field.name}: {re.sub(r'[a-z_]+[.](?=[A-Z])', '', str(getattr(field.type, '__name__', field.type)))}"
            for field in dataclasses.fields(typing.cast(Any, kind))
        )
        parts.append(fields)
    return "\n\n".join(parts) + "\n"


def resource_classes() -> list[type]:
    """All dataclasses below provision.resources that can probe and plan."""
    found: dict[str, type] = {}
    for info in pkgutil.walk_packages(provision.resources.__path__, "provision.resources."):
        for value in vars(importlib.import_module(info.name)).values():
            if inspect.isclass(value) and dataclasses.is_dataclass(value) and hasattr(value, "probe"):
                found[value.__qualname__] = value
    return list(found.values())
