"""Where the lab keeps what it makes, and how a thing is made once for each recipe."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"


class LabError(RuntimeError):
    """The lab cannot be prepared or used: what happened and what to do, for a reader."""


class Forbidden(LabError):
    """This machine does not allow what the lab needs: root, a Docker engine. Nothing is wrong with the project."""


def root() -> Path:
    """The cache directory, outside the checkout: `PROVISION_LAB_CACHE` or `~/.cache/provision-lab`."""
    chosen = os.environ.get("PROVISION_LAB_CACHE")
    directory = Path(chosen) if chosen else Path.home() / ".cache" / "provision-lab"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` of the cache: two runs never make the same thing at once."""
    with (root() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """One line of progress, in one write so that parallel stages do not mix."""
    sys.stderr.write(f"lab: {text}\n")
    sys.stderr.flush()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Say how many seconds the block took."""
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"{name}: FAILED after {time.monotonic() - began:.1f} s")
        raise
    say(f"{name}: {time.monotonic() - began:.1f} s")


def recipe_hash(*parts: str | bytes | Path) -> str:
    """12 hex digits that name a recipe: texts, bytes and files (a directory counts with all it holds)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in sorted(p for p in (part, *part.rglob("*")) if p.is_file()):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def made(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """The directory `NAME-RECIPE` of the cache; `build(directory)` fills it the first time.

    It appears only when it is whole. Directories of the same name and older recipes are removed.
    """
    target = root() / f"{name}-{recipe}"
    if target.is_dir():
        return target
    with locked(name):
        if target.is_dir():
            return target
        half = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root()))
        try:
            with stage(name):
                build(half)
            half.chmod(0o755)
            half.rename(target)
        finally:
            shutil.rmtree(half, ignore_errors=True)
        for old in root().glob(f"{name}-" + "[0-9a-f]" * 12):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
    return target


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    attempts: int = 1,
) -> str:
    """Run a command to its end; returns its standard output.

    Raises:
        LabError: it failed `attempts` times; says `what`, the command and its last lines.
    """
    words = [str(word) for word in command]
    for attempt in range(1, attempts + 1):
        try:
            ended = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=os.environ | dict(env or {}),
                cwd=cwd,
                check=False,
            )
        except FileNotFoundError as error:
            raise LabError(f"{what}: {words[0]} is not installed") from error
        if ended.returncode == 0:
            return ended.stdout
        tail = " | ".join((ended.stdout + ended.stderr).strip().splitlines()[-5:])
        problem = f"{what}: `{' '.join(words)[:300]}` ended with {ended.returncode}: {tail}"
        if attempt < attempts:
            say(f"{problem}; trying again ({attempt + 1} of {attempts})")
            time.sleep(5 * attempt)
    raise LabError(problem)
