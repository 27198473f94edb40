"""Waiting for a condition, with a deadline. The only place of the tests that sleeps."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_NEVER = threading.Event()


def until(condition: Callable[[], T], what: str, timeout: float = 60.0, every: float = 0.1) -> T:
    """Ask `condition` until it answers something true, and return that.

    Args:
        condition: asked every `every` seconds.
        what: for the message: "the SSH banner of gpu01".
        timeout: seconds.

    Raises:
        TimeoutError: it never came true.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        _NEVER.wait(every)
    return answer
