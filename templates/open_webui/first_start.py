"""Make the admin account before the server listens: run the application's own start-up once, without a socket.

Does nothing when there is a user already.
"""

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

DATABASE = Path(os.environ.get("DATA_DIR", "/app/backend/data")) / "webui.db"
SECRETS = Path(__file__).parent


def users() -> int:
    """How many accounts there are; 0 when there is no database or no table yet."""
    if not DATABASE.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True, timeout=30) as database:
            return int(database.execute('select count(*) from "user"').fetchone()[0])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise


async def start_up() -> None:
    """The application's start-up: migrations, seeding, the admin account. And its end."""
    from open_webui.main import app

    async with app.router.lifespan_context(app):
        print("provision: first start, the admin account is made", flush=True)


if not users():
    # With WEBUI_ADMIN_EMAIL and _NAME of the container's environment it makes the account when the user table is empty
    # (open_webui/main.py, `lifespan`).
    os.environ["WEBUI_ADMIN_PASSWORD"] = (SECRETS / "admin_password").read_text()
    sys.path.insert(0, str(Path.cwd()))
    asyncio.run(start_up())
    if not users():
        sys.exit("provision: the admin account could not be made, see the lines above; not starting without one")
    sys.stdout.flush()
    # Threads of libraries may outlive the start-up.
    os._exit(0)
