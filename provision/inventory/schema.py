"""The JSON Schema of an inventory, for editors: completion, and mistakes underlined while typing.

It is wider than `load()`: layers may hold a part of a role's settings, null resets, and text may be written as a
number. What spans layers or hosts is left to `provision check`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from provision.inventory.connection import IGNORED, USED, WITHOUT_EFFECT

Schema = dict[str, Any]


def inventory_schema(schemas: Mapping[str, type[BaseModel]]) -> Schema:
    """A draft 2020-12 schema of inventory files.

    Args:
        schemas: role name -> settings model.
    """
    definitions: dict[str, Schema] = {}
    variables: dict[str, Schema] = {
        "provision_roles": {
            "description": "Roles to apply, in order.",
            "type": "array",
            "items": {"enum": sorted(schemas)},
        },
        "address": {"description": "Where other hosts of the fleet reach this one.", "type": "string"},
        "artifacts": {"description": "Local directory with files for sites without internet.", "type": "string"},
        "models_prune": {"description": "Remove models that are not declared.", "type": "boolean"},
        "twin": {"description": "What `provision twin` uses in place of the host.", "type": ["object", "null"]},
    }
    secret = {
        "type": "object",
        "properties": {"secret": {"type": "string", "pattern": "^(env|file|cmd):.+"}},
        "required": ["secret"],
        "additionalProperties": False,
    }
    for field, names in USED.items():
        for name in names:
            text: Schema = {"type": ["string", "number", "boolean", "null"]}
            variables[name] = {"anyOf": [text, secret]} if "password" in field else text
    for name in (*IGNORED, *WITHOUT_EFFECT):
        variables[name] = {}
    for role, model in schemas.items():
        made = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{role}.{{model}}")
        for name, definition in made.pop("$defs", {}).items():
            definitions[f"{role}.{name}"] = _widen(definition)
        variables[role] = _or_null(_widen(made))
    definitions["variables"] = {"type": ["object", "null"], "properties": dict(sorted(variables.items()))}
    reference = {"$ref": "#/$defs/variables"}
    group = {"$ref": "#/$defs/group"}
    definitions["group"] = {
        "type": ["object", "null"],
        "properties": {
            "hosts": {"type": ["object", "string", "null"], "additionalProperties": reference},
            "children": {"type": ["object", "string", "null"], "additionalProperties": group},
            "vars": reference,
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "provision inventory",
        "type": "object",
        "additionalProperties": group,
        "$defs": dict(sorted(definitions.items())),
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _widen(schema: Any) -> Any:
    """Nothing is required of one layer, null is allowed in a mapping, a number can stand for text."""
    if isinstance(schema, list):
        return [_widen(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_secret = "secret" in schema.get("properties", {}) and len(schema["properties"]) == 1
    if is_secret:
        return schema
    wide = {key: value if key in ("default", "examples", "enum", "const") else _widen(value) for key, value in
            schema.items() if key != "required"}  # fmt: skip
    if "properties" in schema:
        wide["properties"] = {name: _or_null(_widen(value)) for name, value in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        wide["additionalProperties"] = _or_null(_widen(schema["additionalProperties"]))
    if schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
        wide["type"] = ["string", "number", "boolean"]
    elif schema.get("type") in ("integer", "number", "boolean"):
        wide["type"] = [schema["type"], "string"]
    return wide
