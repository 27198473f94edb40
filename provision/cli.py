"""The command `provision`: finds its verbs in `provision/commands`, maps what went wrong to an exit code.

A verb is a module `provision/commands/<verb>.py` with a function of that name. Its signature is typer's, its docstring
the help text; it imports what it needs inside, so that `--help` stays quick. It returns None or an exit code and
raises `ProvisionError` for what the user should read. A verb with words of its own (`twin up`) has a dict of these in
its place: word -> function.
"""

import functools
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer
import typer.core

from provision.errors import ProvisionError

VERBS = ("init", "check", "facts", "plan", "apply", "verify", "twin", "trust", "schema")
"""In the order in which `--help` lists them. One whose module is missing is left out."""

USAGE = 3
"""Exit code for a wrong command line; typer's own is 2, which here means "changes pending"."""

_TYPER_USAGE = 2


class _Finished(SystemExit):
    """A command came to its end; typer lets it pass, unlike its own exits."""


def main() -> NoReturn:
    """Run the command line and exit.

    Codes: 0 fine, 1 a host or a check failed, 2 changes pending, 3 the input is wrong, 4 hosts unreachable,
    130 interrupted.
    """
    # Importing makes many objects and hardly any garbage: to look for it each 700 objects cost a sixth of the start.
    gc.set_threshold(100_000)
    # Looking for pydantic's plugins reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    code = run(sys.argv[1:])
    # Else the collection at the interpreter's end looks at all that was imported: 0.06 s.
    gc.freeze()
    sys.exit(code)


class _InOrder(typer.core.TyperGroup):
    """Lists commands as `VERBS` does; typer lists those that have words of their own last."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [verb for verb in VERBS if verb in self.commands]


def run(arguments: list[str]) -> int:
    """Run the command line `arguments` (without the program's name); gives the exit code."""
    # typer reads the signature of each verb that it is given: of all of them, a tenth of a run that changes nothing.
    verbs = [word for word in arguments[:1] if word in VERBS] or VERBS
    try:
        application(verbs)(args=arguments, prog_name="provision")
    except _Finished as finished:
        return int(finished.code or 0)
    except SystemExit as ended:
        return USAGE if ended.code == _TYPER_USAGE else int(ended.code or 0)
    return 0


def application(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """The typer application with these verbs, as far as they are installed."""
    app = typer.Typer(
        name="provision",
        cls=_InOrder,
        help="One inventory file in; a proven fleet of Ollama and Open WebUI servers out.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def version(wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version as installed

            print(f"provision {installed('provision')}")
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", help="Show the version.", callback=version, is_eager=True),
    ) -> None:
        pass

    for verb in verbs:
        name = f"provision.commands.{verb}"
        if importlib.util.find_spec(name) is None:
            continue
        module = importlib.import_module(name)
        found = getattr(module, verb)
        if isinstance(found, dict):
            several = typer.Typer(help=module.__doc__, no_args_is_help=True, rich_markup_mode=None)
            for word, command in found.items():
                several.command(word)(guarded(command))
            app.add_typer(several, name=verb)
        else:
            app.command(verb)(guarded(found))
    return app


def guarded(command: Callable[..., int | None]) -> Callable[..., NoReturn]:
    """The command, ended by an exit code and one clear line instead of a traceback."""

    @functools.wraps(command)
    def inner(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except ProvisionError as error:
            complain(error)
            code = error.exit_code
        except (KeyboardInterrupt, typer.Abort):
            print("interrupted", file=sys.stderr)
            code = 130
        except BrokenPipeError:
            # The reader (`| head`) went away: nothing more can be said, and Python's own flush at exit must not try.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        raise _Finished(code)

    return inner


def complain(error: ProvisionError) -> None:
    """Print an error to stderr, secrets replaced."""
    from provision.engine.mask import masked

    print(masked(str(error)), file=sys.stderr)
