"""Where the fleet's own tests are, and what a command line may say of them. pytest (0.1 s) is not loaded for that."""

from collections.abc import Sequence
from pathlib import Path

from provision.errors import InputError
from provision.inventory.fleet import Fleet

_ASKING = ("--pdb", "--trace")


def find_tests(fleet: Fleet) -> list[Path]:
    """`tests/test_*.py` beside the inventory, or beside the directory that it lies in."""
    folders = dict.fromkeys((fleet.base, fleet.base.parent if fleet.base.name == "inventory" else fleet.base))
    return [file for folder in folders for file in sorted((folder / "tests").glob("test_*.py"))]


def refuse(fleet: Fleet, arguments: Sequence[str]) -> None:
    """Refuse arguments that mean nothing here, before any host is asked.

    Raises:
        InputError: there are no tests to which they could be given, or pytest would wait for somebody to type.
    """
    if arguments and not find_tests(fleet):
        raise InputError(
            f"there are no tests for the arguments {' '.join(arguments)}",
            f"the fleet's own are {fleet.base}/tests/test_*.py",
        )
    if asking := [word for word in arguments if word in _ASKING]:
        raise InputError(f"{asking[0]} cannot ask anybody: what tests print is shown when all of them have ended")


def names_files(arguments: Sequence[str]) -> bool:
    """Whether tests are chosen by a file. The value of an option (`--deselect FILE`) is none of them."""
    before = ("", *arguments)
    return any(
        is_file(word) and not word.startswith("-") and not earlier.startswith("--")
        for earlier, word in zip(before, arguments, strict=False)
    )


def is_file(word: str) -> bool:
    """Whether a word of a command line names tests: `tests/test_x.py`, `tests/test_x.py::test_y`."""
    return word.partition("::")[0].endswith(".py")
