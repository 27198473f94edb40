"""The command `provision`: finds its verbs in `provision/commands`, maps what went wrong to an exit code.

A verb is a module `provision/commands/<verb>.py` with a click command of that name, its docstring the help text. It
imports what it needs inside its function: what reads a command line or its `--help` must be quick. It gives None or an
exit code, and raises `ProvisionError` for what the user should read.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.exceptions import Exit, NoArgsIsHelpError

from provision.errors import ProvisionError
from provision.inventory.names import did_you_mean

VERBS = ("init", "check", "facts", "plan", "apply", "verify", "twin", "trust", "schema")
"""In the order in which `--help` lists them."""

USAGE = 3
"""Exit code for a wrong command line; click's own is 2, which here means "changes pending"."""


class _Verbs(click.Group):
    """The verbs; a module is imported when its verb is named, all of them for `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            ctx.fail(f"No such command {cmd_name!r}{did_you_mean(cmd_name, VERBS)}")
        command: click.Command = getattr(importlib.import_module(f"provision.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="provision", message="%(prog)s %(version)s", help="Show the version.")
def program() -> None:
    """One inventory file in; a proven fleet of Ollama and Open WebUI servers out."""


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


def run(arguments: Sequence[str]) -> int:
    """Run the command line `arguments` (without the program's name); gives the exit code.

    What went wrong is one clear line instead of a traceback.
    """
    try:
        with program.make_context("provision", list(arguments)) as context:
            code: int = program.invoke(context) or 0
        sys.stdout.flush()
    except Exit as ended:
        return ended.exit_code
    except NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        print(_of_usage(error), file=sys.stderr)
        return USAGE
    except ProvisionError as error:
        complain(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) went away: nothing more can be said, and Python's own flush at exit must not try.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _of_usage(error: click.UsageError) -> str:
    if error.ctx is None:  # an option without its value, which the message names
        return f"provision: {error.format_message()}"
    path = error.ctx.command_path
    return f"{path}: {error.format_message().removesuffix('.')} (see `{path} --help`)"


def complain(error: ProvisionError) -> None:
    """Print an error to stderr, secrets replaced."""
    from provision.engine.mask import masked

    print(masked(str(error)), file=sys.stderr)
