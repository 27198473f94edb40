"""What a host is and how it is now, by one POSIX sh script.

`script()` gives the script, `parse()` reads what it printed:

    facts = parse(session.run(script(readings=True)).out)
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from provision.facts.model import Facts, Identity, Readings
from provision.facts.parse import parse
from provision.values import quote

__all__ = ["PATHS", "Facts", "Identity", "Readings", "parse", "script"]

PATHS = (
    "/",
    "/var",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/usr/share/ollama",
    "/opt",
    "/tmp",
)
"""Where Docker, containerd, Ollama and its releases keep what is big."""


def script(readings: bool, paths: Iterable[str] = ()) -> str:
    """The probe: POSIX sh, read only, for `parse`.

    Args:
        readings: also how the host is now; without, only what it is (some 10 ms of the host's CPU instead of 60).
        paths: directories whose file systems are wanted beside `PATHS`, such as the models' own. They need not exist.

    Raises:
        ValueError: a path is not absolute or has a newline in it.
    """
    wanted = list(dict.fromkeys([*PATHS, *paths]))
    for path in wanted:
        if not path.startswith("/") or "\n" in path:
            raise ValueError(f"{path!r} is not an absolute path")
    return f"readings={int(readings)}\npaths={quote(chr(10).join(wanted))}\n{_probe()}"


@cache
def _probe() -> str:
    return files("provision.facts").joinpath("probe.sh").read_text(encoding="utf-8")
