"""docs/cli.md: the help of every command, as the program prints it, and what all have in common."""

import contextlib
import importlib
import io
import os
from unittest import mock

import click

from provision.cli import VERBS, run

HEAD = """\
<!-- Made by `make docs`; a test compares it with the code. -->

# Commands

`PATTERN` is Ansible's host pattern: `gpu`, `gpu:!gpu03`, `web*`, `gpu:&berlin`. Without one, all hosts are meant.

The inventory is the one named with `-i`, else `$PROVISION_INVENTORY`, else `inventory/` or `inventory.yml` here.

| exit code | means |
|---|---|
| 0 | fine |
| 1 | a host or a check failed |
| 2 | changes are pending (`plan --exit-code`) |
| 3 | the command line, the inventory or a role is wrong; a role's program may be found so after a host was touched |
| 4 | hosts are unreachable, the rest is fine |
| 130 | interrupted |

When several are true, the first of 130, 3, 1, 4, 2 counts.

Colours and progress are drawn on a terminal only; `NO_COLOR` turns colours off. `--json` prints events, one object a
line: see [events.md](events.md). The same events are kept in `~/.local/state/provision/log/` (`$XDG_STATE_HOME`), one
file for each run of `plan` and `apply`. Values of secrets are replaced by `***` in all of these.

Ctrl-C once: no new step is started, running jobs go on on their hosts, and the command that goes on is printed. Twice:
the connections are ended at once. Either way the next run goes on where this one stopped.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for verb in VERBS:
        parts.append(f"## provision {verb}\n\n```\n{help_of(verb)}```\n")
        parts += [f"### provision {verb} {word}\n\n```\n{help_of(verb, word)}```\n" for word in words_of(verb)]
    return "\n".join(parts)


def words_of(verb: str) -> list[str]:
    """`up`, `test`, ... of a command that has words of its own."""
    found = getattr(importlib.import_module(f"provision.commands.{verb}"), verb)
    return list(found.commands) if isinstance(found, click.Group) else []


def help_of(*words: str) -> str:
    """What `provision WORDS --help` prints on a terminal of 100 columns."""
    out = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "TERMINAL_WIDTH": "100"}), contextlib.redirect_stdout(out):
        run([*words, "--help"])
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines()) + "\n"
