"""Copies of the databases before another image, and their return."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CODE = Path(__file__).parents[4] / "provision/resources/open_webui/inside/copies.py"


def copies(action: str, data: Path) -> str:
    """Run the script; what it prints."""
    words = [sys.executable, str(CODE), action, str(data)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose newest user is in the write-ahead log alone."""
    with sqlite3.connect(tmp_path / "webui.db") as database:
        database.execute("create table user (name text)")
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('old')")
    (tmp_path / "vector_db").mkdir()
    with sqlite3.connect(tmp_path / "vector_db/chroma.sqlite3") as database:
        database.execute("create table vectors (x)")
    return tmp_path


def change(data: Path, statement: str) -> None:
    """Run one statement on the database."""
    connection = sqlite3.connect(data / "webui.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


def users(database: Path) -> list[str]:
    """Names in the table."""
    connection = sqlite3.connect(database)
    try:
        return [row[0] for row in connection.execute("select name from user")]
    finally:
        connection.close()


def test_what_is_only_in_the_write_ahead_log_is_in_the_copy(data: Path) -> None:
    live = sqlite3.connect(data / "webui.db")
    live.execute("pragma journal_mode=wal")
    live.execute("pragma wal_autocheckpoint=0")
    live.execute("insert into user values ('newest')")
    live.commit()
    assert b"newest" not in (data / "webui.db").read_bytes()
    made = Path(copies("save", data))
    live.close()
    assert users(made / "webui.db") == ["newest"]
    assert (made / "vector_db/chroma.sqlite3").is_file()
    assert (made.parent.stat().st_mode & 0o077) == 0


def test_a_migrated_database_goes_back(data: Path) -> None:
    change(data, "insert into user values ('before')")
    copies("save", data)
    change(data, "update alembic_version set version_num = 'new'")
    change(data, "drop table user")
    assert copies("restore", data)
    assert users(data / "webui.db") == ["before"]


def test_a_database_that_was_not_migrated_keeps_what_came_after_the_copy(data: Path) -> None:
    copies("save", data)
    change(data, "insert into user values ('later')")
    assert copies("restore", data) == ""
    assert users(data / "webui.db") == ["later"]


def test_nothing_to_copy_and_nothing_to_restore_are_fine(tmp_path: Path) -> None:
    assert copies("save", tmp_path) == ""
    assert copies("restore", tmp_path) == ""
    assert not (tmp_path / "backups").exists()


def test_the_newest_three_stay_and_half_a_copy_is_not_one(data: Path) -> None:
    for name in ("20240101T000000Z", "20250101T000000Z", "20250601T000000Z", "partial"):
        (data / "backups" / name).mkdir(parents=True)
        (data / "backups" / name / "webui.db").touch()
    (data / "backups/20990101T000000Z").mkdir()
    made = copies("save", data)
    there = sorted(path.name for path in (data / "backups").iterdir())
    assert there == ["20250101T000000Z", "20250601T000000Z", Path(made).name, "20990101T000000Z"]
