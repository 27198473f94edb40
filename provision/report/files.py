"""Files of results that a command line names: `--junit FILE`, `--proof FILE`."""

from pathlib import Path

from provision.errors import InputError


def writable(option: str, path: Path | None) -> None:
    """Fail before a long run rather than after it. What stands in the file stays.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise _refused(option, path, error) from error


def write(option: str, path: Path, text: str) -> None:
    """Write the whole file.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise _refused(option, path, error) from error


def _refused(option: str, path: Path, error: OSError) -> InputError:
    return InputError(f"{option}: {path} cannot be written: {error.strerror}")
