"""Jinja templates of roles: a fleet's own first, then the built-in ones.

Undefined names are errors. The environment is sandboxed: a template is text of the fleet, and may come from somebody
whose code would not be run. `*.Modelfile.j2` uses `[[ ]]` and `[% %]`: Ollama's own `{{ .Prompt }}` must survive.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.data import search_path
from provision.errors import InputError, Mistake
from provision.values import quote

if TYPE_CHECKING:
    import jinja2

MODELFILE = ".Modelfile.j2"


class Templates:
    """The templates a fleet can use.

    Args:
        folders: searched in this order.
        compiled: where compiled templates are kept for the next run; None: nowhere.
    """

    def __init__(self, folders: tuple[Path, ...], compiled: Path | None = None) -> None:
        self.folders, self.compiled = folders, compiled
        self._plain: jinja2.Environment | None = None
        self._modelfile: jinja2.Environment | None = None

    @classmethod
    def of(cls, inventory: Path | None, compiled: Path | None = None) -> "Templates":
        """Those of the fleet with this inventory; None: the built-in ones alone."""
        return cls(search_path("templates", inventory), compiled)

    def prepare(self) -> None:
        """Load Jinja now (30 ms) instead of with the first template."""
        self._environment("")

    def render(self, name: str, /, **variables: Any) -> str:
        """The text of a template, by its name relative to `templates/`.

        Raises:
            InputError: there is no such template, it has a mistake, or it uses a name that is not defined.
        """
        return self._rendered(lambda env: env.get_template(name), name, variables)

    def render_text(self, text: str, name: str, /, **variables: Any) -> str:
        """The same for a text that is no file of the templates' folders; `name` is for messages and the delimiters."""
        return self._rendered(lambda env: env.from_string(text), name, variables)

    def _rendered(
        self, get: "Callable[[jinja2.Environment], jinja2.Template]", name: str, variables: dict[str, Any]
    ) -> str:
        import jinja2

        try:
            return get(self._environment(name)).render(**variables)
        except jinja2.TemplateSyntaxError as error:
            where = error.filename or name
            raise InputError([Mistake(where, error.lineno, 1, error.message or "syntax error")]) from error
        except jinja2.TemplateNotFound as error:
            folders = ", ".join(str(folder) for folder in self.folders)
            raise InputError(f"there is no template {error.name!r} in {folders}") from error
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            file, line = _place(error, name)
            raise InputError([Mistake(file, line, 1, str(error))]) from error

    def _environment(self, name: str) -> "jinja2.Environment":
        if name.endswith(MODELFILE):
            self._modelfile = self._modelfile or _environment(
                self.folders, self.compiled, variable_start_string="[[", variable_end_string="]]",
                block_start_string="[%", block_end_string="%]", comment_start_string="[#", comment_end_string="#]",
            )  # fmt: skip
            return self._modelfile
        self._plain = self._plain or _environment(self.folders, self.compiled)
        return self._plain


def _environment(folders: tuple[Path, ...], compiled: Path | None, **delimiters: str) -> "jinja2.Environment":
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from provision.compiled import Compiled

    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        bytecode_cache=Compiled(compiled, " ".join(delimiters.values())) if compiled else None,
        **delimiters,
    )
    environment.filters["quote"] = quote
    environment.filters["systemd"] = systemd
    return environment


def systemd(text: str) -> str:
    """One word of a unit file, such as a whole assignment of `Environment=` (systemd.syntax(7), systemd.exec(5))."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _place(error: BaseException, name: str) -> tuple[str, int]:
    """The template's file and line in which an error arose: Jinja rewrites the traceback to say so."""
    place = (name, 0)
    trace = error.__traceback__
    while trace is not None:
        if "__jinja_template__" in trace.tb_frame.f_globals or trace.tb_frame.f_code.co_filename.endswith(".j2"):
            place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place


@cache
def builtin() -> Templates:
    """The built-in templates alone."""
    return Templates.of(None)
