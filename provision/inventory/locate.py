"""Which inventory a command means when none is named."""

from pathlib import Path

from provision.errors import InputError

ENDINGS = (".yml", ".yaml", ".json")


def find_inventory(given: Path | None, folder: Path = Path()) -> Path:
    """The inventory that was named, else `inventory.yml` or the only file in `inventory/`.

    Raises:
        InputError: there is none, or more than one.
    """
    if given is not None:
        if not given.exists():
            raise InputError(f"{given}: there is no such file", "name the inventory with -i")
        return given
    single = folder / "inventory.yml"
    if single.is_file():
        return single
    directory = folder / "inventory"
    found = sorted(file for file in directory.glob("*") if file.suffix in ENDINGS and file.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(file) for file in found)
        raise InputError(
            f"several inventories here: {names}", "name one with -i, or -i inventory for all of them as one"
        )
    raise InputError("no inventory here", "name one with -i, or begin with `provision init DIR`")
