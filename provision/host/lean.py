"""paramiko without `invoke`, which only its own reader of `~/.ssh/config` uses, for `Match exec`.

paramiko does without it (paramiko/config.py), and it takes as long to import as the rest of paramiko.
"""

import sys

_hidden = "invoke" not in sys.modules
if _hidden:
    # What makes `import invoke` an ImportError.
    sys.modules["invoke"] = None  # type: ignore[assignment]
try:
    import paramiko
finally:
    if _hidden:
        del sys.modules["invoke"]

__all__ = ["paramiko"]


def read_match_exec() -> None:
    """Let paramiko's reader of `~/.ssh/config` have what it needs for `Match exec`."""
    import invoke
    import paramiko.config

    paramiko.config.invoke = invoke  # type: ignore[attr-defined]
