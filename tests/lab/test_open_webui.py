"""Open WebUI and Ollama on a real host, as an office gets them: one story, from somebody's container to an upgrade."""

import json
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.lab import open_webui
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.seeds import seeded_volume
from tests.lab.server import Server
from tests.lab.visitor import Visitor
from tests.lab.wait import until

DATA = "/var/lib/docker/volumes/open-webui/_data"
HOME = "/etc/provision/open-webui"
IT, BOSS, USER = "it@office.lan", "boss@office.lan", "user@office.lan"
PASSWORDS = {IT: "first-password-of-it", BOSS: "password-of-the-boss", USER: "password-of-a-user"}
# Runs in the container, with a statement as its argument.
SQL = (
    "import sqlite3,sys; d=sqlite3.connect('/app/backend/data/webui.db'); r=d.execute(sys.argv[1]).fetchall();"
    " d.commit(); print(*(x[0] for x in r))"
)


@dataclass
class Chat(Visitor):
    """The host, its inventory, and Open WebUI on it as a browser reaches it."""

    host: LabHost
    office: Office
    settings: dict[str, Any] = field(default_factory=dict)

    def set(self, **settings: Any) -> None:
        """Change role settings in the inventory."""
        self.settings |= settings
        self.office.variables["open_webui"] = self.settings

    def token(self, email: str = IT) -> str:
        """Sign in."""
        return self.sign_in(email, PASSWORDS[email])

    def sql(self, statement: str) -> str:
        """One statement on the live database."""
        return self.host.check(shlex.join(["docker", "exec", "open-webui", "python3", "-c", SQL, statement])).strip()

    def identity(self) -> str:
        """Which container runs, and since when."""
        return self.host.check("docker inspect -f '{{.Id}} {{.State.StartedAt}}' open-webui").strip()

    def changes(self) -> list[str]:
        """What a plan names."""
        planned = [event for event in self.office.events("plan") if event["event"] == "host-planned"]
        return [change["resource"] for change in planned[-1]["changes"]]


@pytest.fixture(scope="module")
def chat(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """A host with Ollama, a model, and a Docker engine that has the image; no Open WebUI yet."""
    host = LabHost.start(volume=seeded_volume(lab), ports={8080: 0})
    office = Office(tmp_path_factory.mktemp("office"), environ={"IT_PASSWORD": PASSWORDS[IT]})
    roles = ["docker", "ollama", "models", "open_webui"]
    office.add(host, "chat", ansible_become=True, provision_roles=roles, artifacts=str(lab.artifacts))
    office.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True}
    office.variables["models"] = {"tiny": {"gguf": str(lab.artifacts / "tiny.gguf")}}
    chat = Chat(f"http://127.0.0.1:{host.ports[8080]}", host, office)
    chat.set(admin={"email": IT, "password": {"secret": "env:IT_PASSWORD"}})
    office.check("apply", "--roles", "docker,ollama,models")
    yield chat
    host.remove()


def test_somebodys_container_is_adopted_with_its_users_their_sessions_and_its_key(chat: Chat) -> None:
    chat.host.check(
        "docker run -d --name open-webui --network host -v open-webui:/app/backend/data -e OFFLINE_MODE=true"
        f" -e WEBUI_ADMIN_EMAIL={BOSS} -e WEBUI_ADMIN_PASSWORD={PASSWORDS[BOSS]} {open_webui.IMAGE}"
    )
    until(lambda: chat.call("/ready")[0] == 200, "somebody's Open WebUI is ready", 120)
    before = chat.token(BOSS)
    assert "container:open-webui" in chat.changes()
    chat.office.check("apply", timeout=600)
    assert chat.get("/api/v1/auths/", token=before)["email"] == BOSS
    assert chat.get("/api/v1/auths/", token=chat.token())["role"] == "admin"
    assert chat.sql('select count(*) from "user"') == "2"


def test_an_empty_volume_is_refused_while_another_one_has_the_data(chat: Chat) -> None:
    chat.host.check("docker rm -f open-webui && docker volume create webui_old")
    chat.host.check(f"cp -a {DATA}/. /var/lib/docker/volumes/webui_old/_data/ && docker volume rm open-webui")
    chat.host.check(f"rm -rf {HOME}")
    result = chat.office.run("apply")
    assert result.rc == 1
    assert "webui_old holds data of Open WebUI; set open_webui.volume: webui_old" in result.out + result.err
    assert chat.host.check("docker ps -aq") == ""


def test_nobody_can_take_the_admins_place_on_the_first_start(chat: Chat) -> None:
    chat.host.check("docker volume rm webui_old && docker volume rm -f open-webui")
    seen: list[tuple[str, int, Any]] = []
    over = threading.Event()

    def stranger() -> None:
        body = {"name": "x", "email": "stranger@evil.example", "password": "stranger-password"}
        while not over.wait(0.2):
            for path, sent in (("/api/v1/auths/signup", body), ("/api/config", None)):
                status, answer = chat.call(path, sent)
                if status:
                    seen.append((path, status, answer))

    thread = threading.Thread(target=stranger, daemon=True)
    thread.start()
    try:
        chat.office.check("apply", timeout=600)
    finally:
        over.set()
        thread.join(30)
    tried = [status for path, status, _ in seen if path == "/api/v1/auths/signup"]
    shown = [answer for path, status, answer in seen if path == "/api/config" and status == 200]
    assert tried and shown
    assert 200 not in tried
    assert not [answer for answer in shown if answer.get("onboarding")]
    assert chat.sql('select email from "user"') == IT


def test_a_second_run_changes_nothing(chat: Chat) -> None:
    before = chat.identity()
    assert chat.changes() == []
    assert "0 changed" in chat.office.check("apply")
    assert chat.identity() == before


def test_a_normal_user_sees_the_model_and_gets_an_answer_from_it(chat: Chat) -> None:
    token = chat.add_user(USER, PASSWORDS[USER], chat.token())
    assert chat.models(token) == ["tiny:latest"]
    server = Server(chat.host)
    server.unload("tiny")
    assert chat.say(token).strip()
    assert server.loaded() == ["tiny:latest"]


def test_no_secret_is_where_others_can_read_it(chat: Chat) -> None:
    key = chat.host.check(f"cat {HOME}/secret_key").strip()
    assert len(key) == 64
    shown = chat.host.check("docker inspect open-webui; docker logs open-webui 2>&1; cat /proc/[0-9]*/cmdline")
    shown += chat.office.check("plan", "--diff") + chat.office.logs()
    assert key not in shown
    assert PASSWORDS[IT] not in shown
    assert chat.host.check(f"stat -c %a {HOME} {HOME}/secret_key {HOME}/admin_password").split() == [
        "700",
        "600",
        "600",
    ]


def test_what_was_changed_in_the_database_is_set_back_and_the_server_runs_on(chat: Chat) -> None:
    before = chat.identity()
    chat.sql("update config set value = 'true' where key = 'ui.enable_signup'")
    assert chat.changes() == ["open_webui_settings:open-webui", "open_webui_proof:open-webui"]
    chat.office.check("apply")
    assert chat.sql("select value from config where key = 'ui.enable_signup'") == "false"
    assert chat.identity() == before


def test_another_password_and_another_group_reach_those_they_are_for(chat: Chat) -> None:
    old = PASSWORDS[IT]
    PASSWORDS[IT] = chat.office.environ["IT_PASSWORD"] = "second-password-of-it"
    chat.set(models_for="staff", environment={"CORS_ALLOW_ORIGIN": "http://chat.office.lan"})
    chat.office.check("apply", timeout=600)
    assert chat.call("/api/v1/auths/signin", {"email": IT, "password": old})[0] == 400
    admin, user = chat.token(), chat.token(USER)
    assert chat.models(user) == []
    (group,) = (group["id"] for group in chat.get("/api/v1/groups/", token=admin) if group["name"] == "staff")
    other = chat.add_user("other@office.lan", "password-of-another", admin)
    who = chat.get("/api/v1/auths/", token=user)["id"]
    chat.get(f"/api/v1/groups/id/{group}/users/add", {"user_ids": [who]}, admin)
    assert chat.models(user) == ["tiny:latest"]
    assert chat.say(user).strip()
    assert chat.models(other) == []
    assert chat.call("/api/chat/completions", {"model": "tiny:latest", "messages": []}, other)[0] >= 400
    environ = chat.host.check("docker exec open-webui sh -c 'cat /proc/1/environ' | tr '\\0' '\\n'")
    assert "CORS_ALLOW_ORIGIN=http://chat.office.lan" in environ.splitlines()
    assert chat.changes() == []


def image(chat: Chat, tag: str, *commands: str) -> str:
    """Another image in the host's engine, made from the real one."""
    name = f"{open_webui.IMAGE.rpartition(':')[0]}:{tag}"
    made = [f"docker create --name next {open_webui.IMAGE}", *commands, f"docker commit next {name}", "docker rm next"]
    chat.host.check(" && ".join(made))
    return name


def test_before_another_image_the_databases_are_copied(chat: Chat) -> None:
    chat.set(image=image(chat, "v0.12.5", "docker cp /etc/hostname next:/app/mark"))
    chat.office.check("apply", timeout=600)
    assert chat.host.check("docker inspect -f '{{.Config.Image}}' open-webui").strip().endswith(":v0.12.5")
    (copy,) = chat.host.check(f"ls {DATA}/backups").split()
    assert USER in chat.host.check(f"grep -aom1 {USER} {DATA}/backups/{copy}/webui.db")
    assert chat.get("/api/v1/auths/", token=chat.token(USER))["email"] == USER
    assert chat.changes() == []


def test_an_image_that_fails_after_its_migration_is_taken_back_with_the_data(chat: Chat) -> None:
    before = chat.identity().split()[0]
    broken = (
        "import sqlite3; d = sqlite3.connect('/app/backend/data/webui.db');"
        " d.execute(\"update alembic_version set version_num = 'future'\"); d.execute('drop table chat'); d.commit();"
        " raise SystemExit('a migration went wrong')"
    )
    chat.host.put("/root/start.sh", f"exec python3 -c {json.dumps(broken)}\n".encode())
    chat.set(image=image(chat, "v0.13.0", "docker cp /root/start.sh next:/app/backend/start.sh"))
    result = chat.office.run("apply", timeout=600)
    assert result.rc == 1
    assert "a migration went wrong" in result.out + result.err
    assert chat.identity().split()[0] == before
    until(lambda: chat.call("/ready")[0] == 200, "the old one is ready again", 120)
    assert chat.sql("select version_num from alembic_version") != "future"
    assert chat.get("/api/v1/chats/", token=chat.token(USER)) == []
    chat.set(image=chat.settings["image"].replace("v0.13.0", "v0.12.5"))
    until(lambda: chat.changes() == [], "nothing is left to change", 120)
