"""`python -m tests.lab prepare | clean [--all] | demo | demo-down`.

Exit status: 0 fine; 1 something went wrong; 3 the command line is wrong; 77 (as test suites say "skipped") this machine
forbids what the lab needs, so that tests on real hosts cannot be run on it.
"""

import sys

from tests.lab.cache import Forbidden, LabError, stage
from tests.lab.hosts import clean
from tests.lab.prepare import prepare

USAGE = "usage: python -m tests.lab prepare | clean [--all] | demo | demo-down"
FORBIDDEN = 77


def main(words: list[str]) -> int:
    """Run one command of the lab; returns the exit status."""
    try:
        if words == ["prepare"]:
            with stage("prepared"):
                prepare()
        elif words in (["clean"], ["clean", "--all"]):
            print(f"removed {clean(everything='--all' in words)}")
        elif words in (["demo"], ["demo-down"]):
            from tests.lab import demo

            return demo.up() if words == ["demo"] else demo.down()
        else:
            print(USAGE, file=sys.stderr)
            return 3
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return FORBIDDEN if isinstance(error, Forbidden) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
