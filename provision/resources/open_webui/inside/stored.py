"""Read what Open WebUI's database holds and print it as one JSON object: `python3 -c ... QUESTION`.

The question is a JSON object: `database`, `secrets` and `proven` (paths), `email`, `keys` (values wanted), `hashed`
(keys of which only the SHA-256 is wanted), `group` (a name or "").
"""

import hashlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the answer."""
    question = json.loads(sys.argv[1])
    database = sqlite3.connect(f"file:{question['database']}?mode=ro", uri=True, timeout=5)
    rows = dict(database.execute("select key, value from config"))
    group = database.execute('select id from "group" where name = ?', (question["group"],)).fetchone()
    print(
        json.dumps(
            {
                "users": database.execute('select count(*) from "user"').fetchone()[0],
                "admin": account(database, question),
                "values": {key: json.loads(rows[key]) for key in question["keys"] if key in rows},
                "hashes": {key: digest(rows[key]) for key in question["hashed"] if key in rows},
                "group": group[0] if group else None,
                "granted": [row[0] for row in grants(database, group[0])] if group else [],
                "proven": json.loads(read(question["proven"]) or "[]"),
            }
        )
    )


def account(database: sqlite3.Connection, question: dict[str, Any]) -> dict[str, Any] | None:
    """The declared account; `proven` when the password it has is the declared one, as noted at the last sign-in."""
    query = 'select u.role, a.active, a.password from "user" u join auth a on a.id = u.id where lower(u.email) = ?'
    row = database.execute(query, (question["email"],)).fetchone()
    if row is None:
        return None
    password = read(question["secrets"] + "/admin_password")
    proof = hashlib.sha256(f"{password}\n{row[2]}".encode()).hexdigest()
    return {
        "role": row[0],
        "active": bool(row[1]),
        "proven": proof == read(question["secrets"] + "/admin_proof").strip(),
    }


def grants(database: sqlite3.Connection, group: str) -> list[tuple[str]]:
    """Models that the group may read."""
    query = (
        "select resource_id from access_grant where resource_type = 'model' and principal_type = 'group'"
        " and principal_id = ? and permission = 'read'"
    )
    return database.execute(query, (group,)).fetchall()


def read(path: str) -> str:
    """A small file's text; "" when there is none."""
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def digest(text: str) -> str:
    """SHA-256 of a JSON text in canonical form, as `provision.values.canonical` makes it."""
    canonical = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


if __name__ == "__main__":
    main()
