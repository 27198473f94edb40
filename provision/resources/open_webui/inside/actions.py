"""What is changed through Open WebUI's own API, from inside its container: `python3 -c ... ACTION QUESTION`.

`QUESTION` is a JSON object with `database`, `secrets`, `proven` (paths), `url`, `email`, `name` and what the action
needs; values that may be secret come as JSON on stdin. A failure is one line on stderr and status 1.
"""

import hashlib
import json
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

Question = dict[str, Any]
REFUSED = (400, 401)
TOKEN = Path("/dev/shm/provision-token")
PATIENCE = 200
"""Seconds: 15 sign-ins in 3 minutes are allowed for an e-mail address (routers/auths.py), then it answers 429."""


class Refused(Exception):
    """The server answered an error. `status` is the HTTP status, or 0 when there was no answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def call(question: Question, path: str, body: object = None, token: str = "", timeout: float = 60) -> Any:
    """GET, or POST when there is a body; JSON both ways.

    Raises:
        Refused: no answer, an error, or a page instead of JSON.
    """
    request = urllib.request.Request(question["url"] + path, None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    # Never through a proxy of the container's environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Refused(error.code, f"{path}: HTTP {error.code}: {detail(error.read())}") from error
    except (OSError, ValueError) as error:
        raise Refused(0, f"{path}: {getattr(error, 'reason', error)}") from error


def detail(body: bytes) -> str:
    """The message of an error's JSON body, or the start of the body."""
    try:
        return str(json.loads(body)["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:200]


def sign_in(question: Question) -> str:
    """A token of the admin account.

    Raises:
        Refused: the password is not the account's, or sign-in by password is off.
    """
    body = {"email": question["email"], "password": secret(question, "admin_password")}
    end = time.monotonic() + PATIENCE
    while True:
        try:
            answer = call(question, "/api/v1/auths/signin", body)
        except Refused as error:
            if error.status != 429 or time.monotonic() > end:
                raise
            time.sleep(10)
            continue
        if not answer.get("token"):
            raise Refused(403, "sign-in: the account needs a second factor, which cannot be given here")
        return str(answer["token"])


def token_of(question: Question) -> str:
    """A token of the admin account: an earlier action's while it works, for sign-ins are limited.

    It stays in the container's memory, which only those can read who can read the password too.

    Raises:
        Refused: as `sign_in`.
    """
    try:
        kept = TOKEN.read_text()
        mine = call(question, "/api/v1/auths/", token=kept)
        if (str(mine["email"]).lower(), mine["role"]) == (question["email"], "admin"):
            return kept
    except (OSError, Refused, KeyError, TypeError):
        pass
    token = sign_in(question)
    keep(token)
    return token


def keep(token: str) -> None:
    """Leave the token for later actions of this container's life."""
    TOKEN.unlink(missing_ok=True)
    with os.fdopen(os.open(TOKEN, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)


def secret(question: Question, name: str) -> str:
    """A secret's text."""
    return (Path(question["secrets"]) / name).read_text()


def connect(question: Question, mode: str) -> sqlite3.Connection:
    """The database; `mode` is `ro` or `rw`."""
    return sqlite3.connect(f"file:{question['database']}?mode={mode}", uri=True, timeout=30)


def admin(question: Question) -> None:
    """Make the account exist, active and admin, with the declared password; print the proof of it."""
    if find(question) is None:
        create(question)
    with connect(question, "rw") as database:
        database.execute("update \"user\" set role = 'admin' where lower(email) = ?", (question["email"],))
        database.execute("update auth set active = 1 where lower(email) = ?", (question["email"],))
    try:
        token = sign_in(question)
    except Refused as error:
        if error.status not in REFUSED:
            raise
        set_password(question)
        token = sign_in(question)
    keep(token)
    stored = find(question)
    print(hashlib.sha256(f"{secret(question, 'admin_password')}\n{stored}".encode()).hexdigest())


def find(question: Question) -> str | None:
    """The password hash of the account, or None when there is no such account."""
    with connect(question, "ro") as database:
        query = 'select a.password from "user" u join auth a on a.id = u.id where lower(u.email) = ?'
        row = database.execute(query, (question["email"],)).fetchone()
    return str(row[0]) if row else None


def set_password(question: Question) -> None:
    """Store the hash of the declared password and end the account's sessions."""
    hashed = hash_password(question)
    with connect(question, "rw") as database:
        database.execute("update auth set password = ? where lower(email) = ?", (hashed, question["email"]))
        if any(row[1] == "session_stamp" for row in database.execute("pragma table_info(auth)")):
            stamp = (os.urandom(16).hex(), question["email"])
            database.execute("update auth set session_stamp = ? where lower(email) = ?", stamp)


def hash_password(question: Question) -> str:
    """As Open WebUI does it: bcrypt of at most 72 bytes (utils/auth.py)."""
    import bcrypt

    password = secret(question, "admin_password").encode()[:72]
    return str(bcrypt.hashpw(password, bcrypt.gensalt()).decode())


def create(question: Question) -> None:
    """Add the account by the application's own code: its tables differ from version to version."""
    import asyncio
    import importlib
    import inspect

    # The published image declares the variable empty, and the application refuses to be imported so.
    os.environ["WEBUI_SECRET_KEY"] = secret(question, "secret_key").strip()
    sys.stdout = sys.stderr
    accounts = importlib.import_module("open_webui.models.auths").Auths

    async def insert() -> None:
        made = accounts.insert_new_auth(
            email=question["email"], password=hash_password(question), name=question["name"], role="admin"
        )
        if inspect.isawaitable(made):
            await made

    asyncio.run(insert())
    sys.stdout = sys.__stdout__


def settings(question: Question) -> None:
    """Import the values on stdin: key -> value. Other keys stay as they are."""
    values = json.load(sys.stdin)
    call(question, "/api/v1/configs/import", {"config": values}, token_of(question))


def access(question: Question) -> None:
    """Let the group exist and let it read each model; other grants of a model stay."""
    token = token_of(question)
    with connect(question, "ro") as database:
        row = database.execute('select id from "group" where name = ?', (question["group"],)).fetchone()
    if row:
        group = row[0]
    else:
        new = {"name": question["group"], "description": "May use the models of this server."}
        group = call(question, "/api/v1/groups/create", new, token)["id"]
    wanted = {"principal_type": "group", "principal_id": group, "permission": "read"}
    for model in question["models"]:
        with connect(question, "ro") as database:
            query = (
                "select principal_type, principal_id, permission from access_grant"
                " where resource_type = 'model' and resource_id = ?"
            )
            rows = database.execute(query, (model,)).fetchall()
        kept = [dict(zip(("principal_type", "principal_id", "permission"), row, strict=True)) for row in rows]
        if wanted not in kept:
            body = {"id": model, "name": model, "access_grants": [*kept, wanted]}
            call(question, "/api/v1/models/model/access/update", body, token)


def prove(question: Question) -> None:
    """Sign in, and read the model list through every backend; note those that gave it for the next plan.

    A backend has `url`, `name` for the reader, and `hint`, which is told when it does not answer.

    Raises:
        Refused: backends do not answer, with the cause of each.
    """
    token = token_of(question)
    given, causes, hints = [], [], []
    for index, backend in enumerate(question["backends"]):
        if cause := silence(question, index, backend["url"], token):
            causes.append(f"{backend['name']}: {cause}")
            hints += [backend["hint"]] if backend["hint"] else []
        else:
            given.append(backend["url"])
    Path(question["proven"]).write_text(json.dumps(given))
    if causes:
        many = "backends do" if len(causes) > 1 else "backend does"
        raise Refused(0, "; ".join([f"{many} not answer from inside the container: {', '.join(causes)}", *hints]))


def silence(question: Question, index: int, url: str, token: str) -> str:
    """Why a backend gives no model list, "" when it does: the network's cause says more than Open WebUI's own."""
    try:
        # Open WebUI itself waits minutes for a backend that a firewall drops.
        call(question, f"/ollama/api/tags/{index}", token=token, timeout=20)
        return ""
    except Refused as error:
        cause = str(error)
    try:
        call({"url": url}, "/api/version", timeout=10)
        return cause
    except Refused as error:
        return str(error).removeprefix("/api/version: ")


def main() -> None:
    """Run one action."""
    actions: dict[str, Callable[[Question], None]] = {
        "admin": admin,
        "settings": settings,
        "access": access,
        "prove": prove,
    }
    try:
        actions[sys.argv[1]](json.loads(sys.argv[2]))
    except Refused as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
