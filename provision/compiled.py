"""Compiled templates, kept for the next run: to compile the eight of a server takes 20 ms, to read them 1 ms."""

import contextlib
import os
import pickle
import threading
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

_SPOILT = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ImportError, pickle.UnpicklingError)
"""What reading raises when the file is not what was written (`pickle.load`, `marshal.load`)."""


class Compiled(jinja2.BytecodeCache):
    """A folder of compiled templates. Jinja looks whether the source is the same, and the version of Python and Jinja.

    Where the folder is another user's it is not used: what lies there is run. Like every cache it may be lost, spoilt
    or full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with contextlib.suppress(*_SPOILT):
            if self.folder.stat().st_uid == os.getuid():
                bucket.bytecode_from_string(self._file(bucket).read_bytes())

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Several hosts and runs may write at once: nobody reads half a file.
            new = self._file(bucket).with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            new.write_bytes(bucket.bytecode_to_string())
            new.replace(self._file(bucket))

    def _file(self, bucket: Bucket) -> Path:
        return self.folder / f"{bucket.key}.jinja"
