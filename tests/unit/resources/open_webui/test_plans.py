"""What is planned for what the database holds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from provision.resources.base import Change, Pending, Run, Section
from provision.resources.open_webui.access import ModelAccess
from provision.resources.open_webui.admin import Admin
from provision.resources.open_webui.data_guard import DataFound, DataGuard
from provision.resources.open_webui.instance import Account, Instance, Stored
from provision.resources.open_webui.proof import Proof
from provision.resources.open_webui.secret_key import Key, SecretKey
from provision.resources.open_webui.settings import StoredSettings
from provision.values import Secret, canonical, sha256

INSTANCE = Instance("open-webui", "http://127.0.0.1:8080", "/etc/provision/open-webui", "it@office.lan", group="staff")
PASSWORD = SecretKey("/etc/provision/open-webui/admin_password", "open-webui")
GONE = Stored(complaint="No such container: open-webui")
NOTHING = Pending()


def script(steps: Any) -> str:
    """The script of the only step."""
    (step,) = steps
    assert isinstance(step, Run)
    return step.script


@dataclass(frozen=True)
class Case:
    """A declared value, what is stored, and what is to be imported (None: nothing)."""

    name: str
    declared: Any
    there: Mapping[str, Any]
    imported: tuple[Any] | None


SETTINGS = [
    Case("equal", False, {"k": False}, None),
    Case("another", False, {"k": True}, (False,)),
    Case("missing", False, {}, (False,)),
    Case("null is a value", None, {"k": 1}, (None,)),
    Case("true is not one", True, {"k": 1}, (True,)),
    Case("a number is a number", 1, {"k": 1.0}, None),
    Case("lists are whole", ["a"], {"k": ["a", "b"]}, (["a"],)),
    Case("a mapping holds more", {"a": {"x": 1}}, {"k": {"a": {"x": 1, "y": 2}, "b": 3}}, None),
    Case(
        "a mapping is merged",
        {"a": {"x": 9}},
        {"k": {"a": {"x": 1, "y": 2}, "b": 3}},
        ({"a": {"x": 9, "y": 2}, "b": 3},),
    ),
    Case("a mapping over a scalar", {"a": 1}, {"k": "text"}, ({"a": 1},)),
]


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case.name)
def test_a_setting_is_imported_when_it_differs(case: Case) -> None:
    change = StoredSettings(INSTANCE, {"k": case.declared}).plan(Stored(values=case.there), NOTHING)
    assert (change.private.values["k"] if change else None) == case.imported


def test_connections_by_index_are_replaced_and_not_merged() -> None:
    there = {"ollama.api_configs": {"0": {"enable": True}, "1": {"enable": True}}}
    declared = {"ollama.api_configs": {"0": {"enable": True}}}
    change = StoredSettings(INSTANCE, declared).plan(Stored(values=there), NOTHING)
    assert change is not None and change.private.values == {"ollama.api_configs": ({"0": {"enable": True}},)}


def test_only_the_keys_that_differ_are_in_the_plan() -> None:
    resource = StoredSettings(INSTANCE, {"ui.enable_signup": False, "webui.url": "http://chat"})
    change = resource.plan(Stored(values={"ui.enable_signup": True, "webui.url": "http://chat"}), NOTHING)
    assert change == Change(
        "open_webui_settings:open-webui",
        "update",
        "ui.enable_signup differs in the database",
        {"ui.enable_signup": True},
        {"ui.enable_signup": False},
    )


def test_a_secret_setting_is_compared_by_digest_and_never_shown() -> None:
    resource = StoredSettings(INSTANCE, {"openai.api_keys": [Secret.of("sk-very-secret")]})
    same = Stored(hashes={"openai.api_keys": sha256(canonical(["sk-very-secret"]))})
    assert resource.plan(same, NOTHING) is None
    change = resource.plan(Stored(hashes={"openai.api_keys": "0" * 64}), NOTHING)
    assert change is not None
    assert (change.before, change.after) == ({"openai.api_keys": "***"}, {"openai.api_keys": ["***"]})
    (step,) = resource.steps(change)
    assert isinstance(step, Run)
    assert "sk-very-secret" not in repr(change) + repr(step) + step.script
    assert json.loads(step.secrets["WEBUI_SETTINGS"]) == {"openai.api_keys": ["sk-very-secret"]}


@pytest.mark.parametrize(
    ("key", "engine", "restarts"),
    [
        ("ui.enable_signup", "", False),
        ("rag.embedding_model", "", True),
        ("rag.ollama.base_url", "", False),
        ("rag.ollama.base_url", "ollama", True),
        ("rag.openai.api_key", "ollama", False),
    ],
)
def test_the_server_starts_again_for_what_it_has_read_already(key: str, engine: str, restarts: bool) -> None:
    resource = StoredSettings(INSTANCE, {key: "x"})
    change = resource.plan(Stored(values={"rag.embedding_engine": engine}), NOTHING)
    assert change is not None
    assert ("docker restart" in script(resource.steps(change))) is restarts


def test_settings_of_a_database_that_stays_unreadable_fail_with_the_container() -> None:
    resource = StoredSettings(INSTANCE, {"ui.enable_signup": False})
    change = resource.plan(GONE, NOTHING)
    assert change is not None and change.uncertain
    assert "docker logs open-webui" in script(resource.steps(change))


@pytest.mark.parametrize(
    ("stored", "action"),
    [
        (GONE, "create"),
        (Stored(users=3), "create"),
        (Stored(users=1, admin=Account("admin", True, True)), None),
        (Stored(users=1, admin=Account("user", True, True)), "update"),
        (Stored(users=1, admin=Account("admin", False, True)), "update"),
        (Stored(users=1, admin=Account("admin", True, False)), "prove"),
    ],
    ids=["no container", "adopted, not there", "as declared", "demoted", "disabled", "not proven"],
)
def test_the_admin_account(stored: Stored, action: str | None) -> None:
    change = Admin(INSTANCE, PASSWORD).plan(stored, NOTHING)
    assert (change.action if change else None) == action


def test_another_declared_password_is_a_change_although_the_old_one_was_proven() -> None:
    pending = Pending({PASSWORD.id: Change(PASSWORD.id, "update", "content")})
    change = Admin(INSTANCE, PASSWORD).plan(Stored(users=1, admin=Account("admin", True, True)), pending)
    assert change is not None and change.why == "the declared password changes"


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (GONE, "unknown until open-webui runs"),
        (Stored(), "there is no such group"),
        (Stored(group="g1", granted=frozenset({"a:latest"})), "it may not use b:latest"),
        (Stored(group="g1", granted=frozenset({"a:latest", "b:latest", "c:latest"})), None),
    ],
    ids=["no container", "no group", "a model lacks", "more than declared"],
)
def test_what_the_group_may_not_use_yet_is_granted(stored: Stored, why: str | None) -> None:
    change = ModelAccess(INSTANCE, ("b:latest", "a:latest")).plan(stored, NOTHING)
    assert (change.why if change else None) == why


GPU01, GPU02 = "http://10.0.0.11:11434", "http://10.0.0.12:11434"


@pytest.mark.parametrize(
    ("stored", "pending", "why"),
    [
        (Stored(proven=frozenset({GPU01, GPU02, "http://gone:1"})), NOTHING, None),
        (Stored(proven=frozenset({GPU01})), NOTHING, f"{GPU02} (gpu02) gave no model list yet"),
        (Stored(), NOTHING, f"{GPU01}, {GPU02} (gpu02) gave no model list yet"),
        (GONE, NOTHING, "unknown until open-webui runs"),
        (
            Stored(proven=frozenset({GPU01, GPU02})),
            Pending({PASSWORD.id: Change(PASSWORD.id, "update", "content")}),
            f"after update of {PASSWORD.id}",
        ),
    ],
    ids=["all", "one did not answer", "a new container", "no container", "after a change"],
)
def test_every_backend_is_proven_until_it_gave_its_models(stored: Stored, pending: Pending, why: str | None) -> None:
    change = Proof(INSTANCE, (GPU01, GPU02), {GPU02: "gpu02"}, (PASSWORD,)).plan(stored, pending)
    assert (change.why if change else None) == why


@pytest.mark.parametrize(("url", "hinted"), [("http://host.docker.internal:11500", True), (GPU01, False)])
def test_a_backend_of_the_same_host_has_a_usual_cause(url: str, hinted: bool) -> None:
    proof = Proof(INSTANCE, (url,))
    change = proof.plan(Stored(), NOTHING)
    assert change is not None
    assert ("ufw allow in on docker0 to any port 11500" in script(proof.steps(change))) is hinted


@pytest.mark.parametrize(
    ("key", "action"),
    [
        (Key(), "create"),
        (Key("600", "root:root", 0), "create"),
        (Key("600", "root:root", 64), None),
        (Key("644", "root:root", 64), "protect"),
        (Key("600", "admin:admin", 64), "protect"),
    ],
)
def test_the_secret_key_is_made_once_and_kept(key: Key, action: str | None) -> None:
    change = PASSWORD.plan(key, NOTHING)
    assert (change.action if change else None) == action


@pytest.mark.parametrize(
    ("out", "found"),
    [
        ("", DataFound(False)),
        ("here\n", DataFound(True)),
        ("webui_data\n/srv/webui\n", DataFound(False, ("/srv/webui", "webui_data"))),
        ("webui_data\nhere\n", DataFound(True, ("webui_data",))),
    ],
)
def test_where_data_were_found(out: str, found: DataFound) -> None:
    assert DataGuard("open-webui").observe(Section(0, out.encode())) == found


def test_an_empty_volume_is_refused_when_another_one_has_the_data() -> None:
    guard = DataGuard("open-webui")
    assert guard.plan(DataFound(True), NOTHING) is None
    assert guard.plan(DataFound(False), NOTHING) is None
    change = guard.plan(DataFound(False, ("webui_data",)), NOTHING)
    assert change is not None and change.action == "refuse"
    assert "set open_webui.volume: webui_data" in script(guard.steps(change))
