"""Compiled templates, kept for the next run: to compile the eight of a server takes 20 ms, to read them 1 ms."""

import contextlib
import os
import pickle
import threading
from importlib import metadata
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from provision.values import sha256

_SPOILT = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ImportError, pickle.UnpicklingError)
"""What reading raises when the file is not what was written (`pickle.load`, `marshal.load`)."""


class Compiled(jinja2.BytecodeCache):
    """A folder of compiled templates. Jinja looks whether the source is the same, and the version of Python.

    Where the folder is another user's it is not used: what lies there is run. Like every cache it may be lost, spoilt
    or full.

    Args:
        folder: made when it is not there.
        syntax: the delimiters: what another environment made of the same file is another text.
    """

    def __init__(self, folder: Path, syntax: str) -> None:
        self.folder = folder
        # Jinja compiles what filters make of constants: an upgrade of ours writes this file anew.
        self._about = f"{metadata.version('jinja2')} {Path(__file__).stat().st_mtime_ns} {syntax}"

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """See `jinja2.BytecodeCache`."""
        return sha256("\0".join((self._about, filename or "", name)))

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with contextlib.suppress(*_SPOILT):
            if self._is_ours():
                bucket.bytecode_from_string(self._file(bucket).read_bytes())

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return
            # Several hosts and runs may write at once: nobody reads half a file.
            new = self._file(bucket).with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            new.write_bytes(bucket.bytecode_to_string())
            new.replace(self._file(bucket))

    def _is_ours(self) -> bool:
        return self.folder.stat().st_uid == os.getuid()

    def _file(self, bucket: Bucket) -> Path:
        return self.folder / f"{bucket.key}.jinja"
