"""Jinja in `ansible_*` values: the host's own variables, no lookups, sandboxed."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MAX = 10_000


class _Environment(ImmutableSandboxedEnvironment):
    """Without `*` and `**`: `'a' * 10**10` must not fill the memory."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"the operator {operator} is not available here")


class _Variables(Mapping[str, Any]):
    """Variables whose own templates are rendered when they are used, as Ansible does."""

    def __init__(self, values: Mapping[str, Any], depth: int) -> None:
        self.values_, self.depth = values, depth

    def __getitem__(self, name: str) -> Any:
        value = self.values_[name]
        if isinstance(value, str) and ("{{" in value or "{%" in value):
            return render(value, self.values_, self.depth + 1)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def render(text: str, values: Mapping[str, Any], depth: int = 0) -> str:
    """The text that a template gives.

    Raises:
        ValueError: it is no template, a variable is not defined, or it refers to itself.
    """
    if depth > 10:
        raise ValueError("the variables of the template refer to each other in a circle")
    used = _Variables(values, depth)
    try:
        template, names = _compiled(text)
        result = template.render({name: used[name] for name in names if name in used})
    except TemplateError as error:
        raise ValueError(f"{str(error).rstrip('.')}; only variables of the host are known here, no lookups") from error
    if len(result) > _MAX:
        raise ValueError(f"the template gives more than {_MAX} characters")
    return result


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()
    return environment


@lru_cache(maxsize=4096)
def _compiled(text: str) -> tuple[Template, frozenset[str]]:
    environment = _environment()
    return environment.from_string(text), frozenset(meta.find_undeclared_variables(environment.parse(text)))
