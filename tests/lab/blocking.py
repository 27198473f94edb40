"""A run that is killed at exactly the moment when the host calls a command."""

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.wait import until

_CALLED = "/run/lab-called"
_GO = "/run/lab-go"
# Where root looks first.
_FOLDER = "/usr/local/sbin"
_COMMAND = """\
#!/bin/sh
case "$*" in
*"{when}"*)
    : >{called}
    while [ ! -e {go} ]; do sleep 0.1; done
    exit 1 ;;
esac
exec /usr/bin/{name} "$@"
"""


def killed_at(office: Office, host: LabHost, name: str, when: str) -> None:
    """Start an apply, and kill it when `name` is called with these words; the call itself does nothing.

    Waits until no session has the host's lock.
    """
    script = _COMMAND.format(name=name, when=when, called=_CALLED, go=_GO)
    host.check(f"rm -f {_CALLED} {_GO}")
    host.put(f"{_FOLDER}/{name}", script.encode(), mode=0o755)
    try:
        process = office.start("apply")
        until(lambda: host.exec(f"ls {_CALLED}").rc == 0, f"the call of {name} {when}")
        process.kill()
        process.communicate(timeout=60)
    finally:
        host.check(f"rm -f {_FOLDER}/{name}; touch {_GO}")
    until(lambda: host.exec("flock -n /run/provision/lock true").rc == 0, "the end of the killed run's session")
