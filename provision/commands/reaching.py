"""From the options of a command line to the hosts that are meant and the connections to them.

Imports of this module stand before the login of every run: only what it takes to begin one. Everything else is loaded
while the first hosts answer.
"""

import contextlib
import getpass
import warnings
from collections.abc import Iterator
from pathlib import Path

from provision.dataclass import dataclass
from provision.engine.reach import Reach
from provision.engine.shard import Shard
from provision.errors import InputError
from provision.host.session import closing
from provision.inventory.fleet import Fleet, Host
from provision.inventory.locate import find_inventory
from provision.inventory.reader import Reader
from provision.roles import RoleSchemas
from provision.values import Secret

Reaching = tuple[Fleet, tuple[Host, ...], Reach]
"""An inventory, the hosts of it that are meant, the connections to them."""


@dataclass(frozen=True)
class Options:
    """What the command line said, for all commands that work on hosts."""

    command: str
    inventory: Path | None = None
    pattern: str = "all"
    as_json: bool = False
    verbose: int = 0
    ask_pass: bool = False
    ask_become_pass: bool = False
    forks: int = 10
    roles: tuple[str, ...] | None = None
    batch: tuple[str, ...] = ()
    max_fail: int | None = None
    diff: bool = False
    show_plan: bool = True
    skip_preflight: bool = False
    shard: str | None = None


def split(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as a tuple; None stays None."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@contextlib.contextmanager
def known(fleet: Fleet, options: Options) -> Iterator[Reaching]:
    """The hosts that are meant, and their connections, of an inventory that was read already."""
    hosts, reach = meant(fleet, options), Reach(fleet)
    with closing(reach.close):
        yield fleet, hosts, reach


@contextlib.contextmanager
def reaching(options: Options) -> Iterator[Reaching]:
    """The inventory, the hosts of it that are meant, and the connections to them; these end with the block.

    To load the roles and read their settings takes as long as a login: the first hosts are logged in to meanwhile.
    A mistake in the settings ends it before any host is asked for more than what it is.

    Raises:
        InputError: the inventory or an option is wrong.
    """
    path = find_inventory(options.inventory)
    reader = Reader(path, RoleSchemas(path))
    reach = Reach(reader.bare)
    with closing(reach.close):
        if reader.sound and not (options.ask_pass or options.ask_become_pass or options.batch):
            with contextlib.suppress(InputError):  # a wrong pattern is told below, after the inventory's mistakes
                reach.begin(host.name for host in meant(reader.bare, options)[: options.forks])
        fleet = reader.fleet()
        hosts = meant(fleet, options)
        if options.batch:
            _check_batch(options.batch)
        reach.password, reach.become_password = prompted(options)
        yield fleet, hosts, reach


def _check_batch(sizes: tuple[str, ...]) -> None:
    from provision.engine import order

    try:
        order.batches([], sizes)
    except ValueError as error:
        raise InputError(f"--batch: {error}") from error


def meant(fleet: Fleet, options: Options) -> tuple[Host, ...]:
    """The hosts that the pattern names; of these the ones in our part, where there are several.

    Raises:
        InputError: the pattern or the part is wrong, or no host is left: what looks at none finds nothing wrong.
    """
    hosts = fleet.match(options.pattern)
    if not hosts:
        raise InputError(f"the pattern {options.pattern!r} leaves no host of {fleet.path}")
    return Shard.parse(options.shard).of_hosts(hosts) if options.shard is not None else hosts


def prompted(options: Options) -> tuple[Secret | None, Secret | None]:
    """Passwords typed at prompts: of the login, and for sudo or su.

    Raises:
        InputError: nobody is there to type.
    """
    password = become = None
    try:
        if options.ask_pass:
            password = Secret.of(_typed("SSH password: "))
        if options.ask_become_pass:
            hint = " (empty: the SSH password)" if password else ""
            typed = _typed(f"Become password{hint}: ")
            become = Secret.of(typed) if typed else password
    except (EOFError, getpass.GetPassWarning) as error:
        raise InputError("no password was typed", "-k and -K need a terminal") from error
    return password, become


def _typed(prompt: str) -> str:
    """A line from the terminal, not shown. Without one nothing is asked, and nothing is said of echoes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        return getpass.getpass(prompt)
