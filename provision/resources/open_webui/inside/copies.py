"""Consistent copies of the databases, in the volume itself: `python3 -c ... save|restore DATA`.

A copy of the file alone loses what is in the write-ahead log, even after a clean stop: SQLite's own backup is used.
"""

import os
import shutil
import sqlite3
import sys
import time
from pathlib import Path

NAMES = ("webui.db", "vector_db/chroma.sqlite3")
KEPT = 3
"""Copies that stay, the newest ones."""


def save(data: Path) -> None:
    """Copy the databases to `backups/TIME/`, complete or not at all; print the folder."""
    there = [data / name for name in NAMES if (data / name).is_file()]
    if not there:
        return
    needed = sum(path.stat().st_size for path in there)
    free = shutil.disk_usage(data).free
    if free < 1.1 * needed:
        sys.exit(f"no room for a copy of the databases: {needed >> 20} MiB needed, {free >> 20} MiB free on {data}")
    final = data / "backups" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    partial = final.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in there:
        target = partial / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(path, target)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in copies(data)[:-KEPT]:
        shutil.rmtree(old)
    print(final)


def restore(data: Path) -> None:
    """Put the newest copy back when the database was migrated since: an older version cannot use it."""
    found = copies(data)
    if not found or version(found[-1] / NAMES[0]) == version(data / NAMES[0]):
        return
    for name in NAMES:
        if (found[-1] / name).is_file():
            copy(found[-1] / name, data / name)
    print(found[-1])


def copies(data: Path) -> list[Path]:
    """Complete copies, oldest first."""
    return sorted(path for path in (data / "backups").glob("*Z") if (path / NAMES[0]).is_file())


def copy(source: Path, target: Path) -> None:
    """All of one database into another."""
    with sqlite3.connect(source, timeout=30) as old, sqlite3.connect(target, timeout=30) as new:
        old.backup(new)
    new.close()
    old.close()


def version(database: Path) -> list[str]:
    """Which migrations it has seen."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        return sorted(row[0] for row in connection.execute("select version_num from alembic_version"))
    finally:
        connection.close()


if __name__ == "__main__":
    os.umask(0o077)
    {"save": save, "restore": restore}[sys.argv[1]](Path(sys.argv[2]))
