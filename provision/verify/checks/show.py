"""What a server tells of a model by `/api/show`, compared with a Modelfile. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from provision.models import parameters as known
from provision.models.modelfile import Modelfile
from provision.values import printable


def parameters(text: str) -> dict[str, Any]:
    """`parameters` of `/api/show`: a line each: name, blanks, a value as Go writes it; `stop` may repeat."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, _, rest = line.strip().partition(" ")
        if not name:
            continue
        value = _value(rest.strip())
        if known.KINDS.get(name) == "list":
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # Go's quoting has escapes that JSON has not.
        return text.strip('"')


def differences(want: Modelfile, shown: Mapping[str, Any]) -> Iterator[str]:
    """What the server has otherwise than the Modelfile says. Texts by name only: they are long."""
    there = parameters(str(shown.get("parameters") or ""))
    for name, value in sorted(want.parameters.items()):
        if name not in there:
            yield f"{name} is not set, {value} is declared"
        elif not known.same(there[name], value):
            yield f"{name} is {printable(str(there[name]), 80)}, {value} is declared"
    for key, text in (("system", want.system), ("template", want.template)):
        if text is not None and shown.get(key, "") != text:
            yield f"it has another {key.upper()} than declared"
    if want.messages:
        messages = [(one.get("role"), one.get("content")) for one in shown.get("messages") or []]
        if messages != list(want.messages):
            yield "it has other MESSAGEs than declared"
