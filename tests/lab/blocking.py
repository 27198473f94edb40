"""A command of a host that waits when it is called, so that a test can act at exactly that moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.lab.hosts import LabHost
from tests.lab.wait import until

BLOCKED = "/run/lab-blocked"
"""Is there once the command was called."""

_GO = "/run/lab-go"
# Where root looks first.
_FOLDER = "/usr/local/sbin"
_COMMAND = """\
#!/bin/sh
case "$*" in
*{when}*)
    : >{blocked}
    while [ ! -e {go} ]; do sleep 0.1; done
    exit 1 ;;
esac
exec /usr/bin/{name} "$@"
"""


@contextmanager
def blocked(host: LabHost, name: str, when: str) -> Iterator[Callable[[], None]]:
    """`name` waits when it is called with these words, then fails without having done anything.

    The function given lets it go, and waits until no session has the host's lock.
    """
    script = _COMMAND.format(name=name, when=f'"{when}"', blocked=BLOCKED, go=_GO)
    host.check(f"rm -f {BLOCKED} {_GO}")
    host.put(f"{_FOLDER}/{name}", script.encode(), mode=0o755)

    def let_go() -> None:
        host.check(f"rm {_FOLDER}/{name}; touch {_GO}")
        until(lambda: host.exec("flock -n /run/provision/lock true").rc == 0, "the end of the killed run's session")

    try:
        yield let_go
    finally:
        host.check(f"rm -f {_FOLDER}/{name}; touch {_GO}")
