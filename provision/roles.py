"""Roles are single Python files, loaded by path as `provision_roles.<name>`."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from provision.data import search_path
from provision.dataclass import dataclass
from provision.errors import InputError, Mistake
from provision.inventory.names import did_you_mean
from provision.values import printable

if TYPE_CHECKING:
    from pydantic import BaseModel

PACKAGE = "provision_roles"


class Role(Protocol):
    """What a role's module has."""

    Settings: "type[BaseModel]"
    declare: Callable[..., Iterator[Any]]
    __doc__: str | None


def role_files(inventory: Path | None = None) -> dict[str, Path]:
    """Name -> file of every role that a fleet can use. The fleet's own hide built-in ones of the same name."""
    found: dict[str, Path] = {}
    for folder in search_path("roles", inventory):
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_"):
                found.setdefault(file.stem, file)
    return found


def load_role(name: str, inventory: Path | None = None) -> Role:
    """The module of a role.

    Raises:
        InputError: there is no such role, or its file cannot be run or lacks `Settings` or `declare`.
    """
    files = role_files(inventory)
    if name not in files:
        raise InputError(f"there is no role {name!r}{did_you_mean(name, files)}")
    return cast(Role, _module(name, files[name]))


@dataclass(frozen=True)
class RoleSchemas(Mapping[str, "type[BaseModel]"]):
    """Role name -> settings model, for `provision.inventory.load`. A role's file is run when its model is asked for."""

    inventory: Path | None = None

    @cached_property
    def _files(self) -> dict[str, Path]:
        # Asked for once a host and role: the folders are listed once.
        return role_files(self.inventory)

    def __getitem__(self, name: str) -> "type[BaseModel]":
        return cast(Role, _module(name, self._files[name])).Settings

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


_ODD = (ArithmeticError, AssertionError, LookupError, OSError, RuntimeError)
BUGS = (*_ODD, AttributeError, ImportError, NameError, StopIteration, SyntaxError, TypeError)
"""What a mistake in a role's own program raises. (With a ValueError a role refuses its settings.)"""


def bug(error: BaseException, file: Path) -> Mistake:
    """A mistake in a role's program, at the last line of it that was reached."""
    import traceback

    lines = [frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Mistake(str(file), lines[-1] if lines else 0, 1, printable(text, 300))


def _module(name: str, file: Path) -> ModuleType:
    full = f"{PACKAGE}.{name}"
    known = sys.modules.get(full)
    if known is not None and known.__file__ == str(file):
        return known
    spec = importlib.util.spec_from_file_location(full, file)
    if spec is None or spec.loader is None:
        raise InputError([Mistake(str(file), 0, 0, "not a Python file")])
    module = importlib.util.module_from_spec(spec)
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = []
        sys.modules[PACKAGE] = package
    # Registered before it runs: dataclasses look up their own module by name.
    sys.modules[full] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[full]
        raise InputError([Mistake(str(file), error.lineno or 0, error.offset or 0, error.msg)]) from error
    except BUGS as error:
        del sys.modules[full]
        raise InputError([bug(error, file)]) from error
    except BaseException:
        del sys.modules[full]
        raise
    from pydantic import BaseModel

    settings = getattr(module, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)) or not hasattr(module, "declare"):
        del sys.modules[full]
        missing = "a role has `class Settings(pydantic.BaseModel)` and `def declare(host, want)`"
        raise InputError([Mistake(str(file), 0, 0, missing)])
    return module
