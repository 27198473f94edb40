"""A person at a terminal: the program runs on a pty, is read as it writes, and gets what is typed."""

import codecs
import fcntl
import os
import pty
import select
import struct
import termios
import time
from typing import Self

from tests.lab.cli import Office

_SIZE = struct.pack("HHHH", 40, 140, 0, 0)


class Terminal:
    """`provision` with a terminal of its own: standard streams, and /dev/tty at which passwords are asked for.

    Attributes:
        text: all that was shown so far.
    """

    def __init__(self, office: Office, *words: str) -> None:
        command, environment = office.command(*words), office.environment({"TERM": "xterm", "COLUMNS": "140"})
        self._child, self._terminal = pty.fork()
        if not self._child:
            os.chdir(office.folder)
            os.execve(command[0], command, environment)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, _SIZE)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._terminal)

    def until(self, text: str, timeout: float = 60) -> None:
        """Read until this is shown.

        Raises:
            AssertionError: it is not; what was shown stands in the message.
        """
        deadline = time.monotonic() + timeout
        while text not in self.text:
            assert self._read(deadline), f"{text!r} was not shown: {self.text!r}"

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self._terminal, line.encode() + b"\n")

    def end(self, timeout: float = 120) -> int:
        """Read to the end; gives the exit status."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more is shown: {self.text!r}"
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # EIO: the last process on the terminal has ended
            return False
        self.text += self._decode(data)
        return bool(data)
