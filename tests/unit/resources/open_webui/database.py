"""A database like the one Open WebUI 0.12.4 makes, with the tables that are read."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

TABLES = """
create table config (key text primary key, value json not null, updated_at bigint);
create table "user" (id varchar primary key, email varchar unique, role varchar, name varchar not null);
create table auth (id varchar primary key, email varchar, password text, active boolean, mfa json, session_stamp text);
create table "group" (id text primary key, user_id text, name text, description text);
create table access_grant (id text primary key, resource_type text not null, resource_id text not null,
    principal_type text not null, principal_id text not null, permission text not null, created_at bigint not null);
"""


def make(
    path: Path,
    *,
    config: Mapping[str, object] | None = None,
    accounts: Mapping[str, tuple[str, bool, str]] | None = None,
    groups: Mapping[str, str] | None = None,
    grants: tuple[tuple[str, str, str], ...] = (),
) -> Path:
    """A database file.

    Args:
        path: where.
        config: key -> value.
        accounts: e-mail -> role, active, password hash.
        groups: name -> id.
        grants: (model, principal type, principal id), all to read.
    """
    with sqlite3.connect(path) as database:
        database.executescript(TABLES)
        for key, value in (config or {}).items():
            database.execute("insert into config values (?, ?, 0)", (key, json.dumps(value)))
        for email, (role, active, password) in (accounts or {}).items():
            database.execute('insert into "user" values (?, ?, ?, ?)', (email, email, role, email))
            database.execute("insert into auth values (?, ?, ?, ?, null, 'old')", (email, email, password, active))
        for name, identity in (groups or {}).items():
            database.execute("insert into \"group\" values (?, '', ?, '')", (identity, name))
        for model, kind, who in grants:
            row = (f"{model}{who}", "model", model, kind, who, "read", 0)
            database.execute("insert into access_grant values (?, ?, ?, ?, ?, ?, ?)", row)
    return path
