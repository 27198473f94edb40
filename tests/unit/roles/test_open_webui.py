"""What the role open_webui declares."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from provision.resources.base import Pending, Resource, Section
from provision.resources.container import Port
from provision.resources.endpoint import Endpoint
from provision.resources.firewall import Firewall, Guarded
from provision.resources.host_firewall import Allow, HostFirewall
from provision.resources.image import Image
from provision.resources.open_webui import Instance, ModelAccess, Proof, Server, StoredSettings
from provision.resources.package import Package
from provision.roles import load_role
from provision.templates import builtin
from provision.values import Secret
from provision.view import HostView, Peer
from tests.unit.samples import SERVER, one

ROLE = load_role("open_webui")
LAN = {"ollama": SimpleNamespace(port=11434, listen="lan"), "models": SimpleNamespace(models={"tiny": None})}
LOOPBACK = SimpleNamespace(port=11434, listen="loopback")
GPUS = (
    Peer("gpu01", "10.0.0.11", LAN),
    Peer("gpu02", "10.0.0.12", {**LAN, "models": SimpleNamespace(models=["gpt-oss:20b"])}),
)
ADMIN = {"email": "IT@office.lan", "password": Secret.of("hunter2-hunter2")}
MINIMAL: dict[str, Any] = {"admin": ADMIN, "backends": {"group": "inference"}}


def view(
    peers: Mapping[str, tuple[Peer, ...]] | None = None,
    roles: tuple[str, ...] = ("docker", "open_webui"),
    settings: Mapping[str, Any] | None = None,
    artifacts: Path | None = None,
) -> HostView:
    """A host named chat."""
    known = {"inference": GPUS} if peers is None else peers
    return HostView(
        "chat", SERVER, roles, settings or {}, {}, builtin().render, lambda name: None, known.__getitem__, artifacts
    )


def declare(host: HostView | None = None, **settings: Any) -> list[Resource]:
    """What is declared with these settings beside the least ones."""
    return list(ROLE.declare(host or view(), ROLE.Settings.model_validate({**MINIMAL, **settings})))


def test_the_whole_in_order() -> None:
    assert [resource.id for resource in declare()] == [
        "directory:/etc/provision/open-webui",
        "secret_key:/etc/provision/open-webui/secret_key",
        "file:/etc/provision/open-webui/admin_password",
        "file:/etc/provision/open-webui/environment",
        "file:/etc/provision/open-webui/start.sh",
        "file:/etc/provision/open-webui/first_start.py",
        "image:ghcr.io/open-webui/open-webui:v0.12.4",
        "volume:open-webui",
        "open_webui_data:open-webui",
        "firewall:provision-open-webui",
        "host-firewall:open-webui",
        "container:open-webui",
        "endpoint:http://127.0.0.1:8080/ready",
        "open_webui_admin:it@office.lan",
        "open_webui_settings:open-webui",
        "open_webui_proof:open-webui",
    ]


def test_the_specification_of_the_container() -> None:
    spec = one(Server, declare()).spec()
    assert len(spec.pop("labels")["provision.files"]) == 32
    assert spec == {
        "image": "ghcr.io/open-webui/open-webui:v0.12.4",
        "env": {
            "WEBUI_ADMIN_EMAIL": "it@office.lan",
            "WEBUI_ADMIN_NAME": "Admin",
            "ENABLE_SIGNUP": "false",
            "ENABLE_OPENAI_API": "false",
            "BYPASS_MODEL_ACCESS_CONTROL": "true",
            "OFFLINE_MODE": "false",
            "PORT": "8080",
            "HOST": "0.0.0.0",
        },
        "mounts": [
            {"target": "/app/backend/data", "source": "open-webui", "kind": "volume", "read_only": False},
            {"target": "/run/provision", "source": "/etc/provision/open-webui", "kind": "bind", "read_only": True},
        ],
        "health": {
            "command": "curl -sf --noproxy '*' -m 5 http://127.0.0.1:8080/health",
            "interval": 10,
            "timeout": 10.0,
            "retries": 3,
            "start_period": 300,
        },
        "network": "host",
        "restart": "unless-stopped",
        "command": ["bash", "/run/provision/start.sh"],
    }


def test_stored_settings_follow_from_the_backends() -> None:
    assert one(StoredSettings, declare()).values == {
        "ui.enable_signup": False,
        "ollama.enable": True,
        "ollama.base_urls": ["http://10.0.0.11:11434", "http://10.0.0.12:11434"],
        "openai.enable": False,
        "rag.ollama.base_url": "http://10.0.0.11:11434",
    }


def test_declared_settings_win_and_the_database_is_asked_for_them() -> None:
    settings = {
        "openai.enable": True,
        "openai.api_keys": [Secret.of("sk-1")],
        "user.permissions": {"chat": {"x": True}},
    }
    resource = one(StoredSettings, declare(settings=settings, signup=True))
    assert resource.values["openai.enable"] is True
    assert resource.values["ui.enable_signup"] is True
    assert resource.instance.hashed == ("openai.api_keys",)
    assert {"user.permissions", "ui.enable_signup"} <= set(resource.instance.keys)


def test_all_that_ask_the_database_ask_the_same() -> None:
    resources = declare(models_for="staff")
    asking = [resource.probe() for resource in resources if isinstance(getattr(resource, "instance", None), Instance)]
    assert len({text for text in asking if "docker exec" in text}) == 1


def test_no_secret_is_in_the_container_or_in_a_script() -> None:
    secret = Secret.of("oauth-very-secret")
    resources = declare(environment={"OAUTH_CLIENT_SECRET": secret, "CORS_ALLOW_ORIGIN": "http://chat"})
    server = one(Server, resources)
    assert server.env["CORS_ALLOW_ORIGIN"] == "http://chat"
    assert "OAUTH_CLIENT_SECRET" not in server.env
    shown = repr(resources) + repr(server.spec()) + "".join(resource.probe() for resource in resources)
    assert "very-secret" not in shown
    assert "hunter2" not in shown
    (file,) = (resource for resource in resources if resource.id.endswith("/environment"))
    assert vars(file)["content"] == "export OAUTH_CLIENT_SECRET=oauth-very-secret\n"
    assert vars(file)["sensitive"] is True


def test_another_secret_is_another_container() -> None:
    first, second = (one(Server, declare(environment={"OAUTH_CLIENT_SECRET": Secret.of(text)})) for text in "ab")
    assert first.hash() != second.hash()
    assert first.hash() == one(Server, declare(environment={"OAUTH_CLIENT_SECRET": Secret.of("a")})).hash()


def test_other_backends_and_settings_are_the_same_container() -> None:
    """They are in the database: users are not thrown out for them."""
    other = view({"inference": GPUS[:1]})
    assert (
        one(Server, declare(other, settings={"ui.default_user_role": "user"})).hash() == one(Server, declare()).hash()
    )


def test_a_bridge_publishes_the_port_and_reaches_the_host() -> None:
    local = {"ollama": SimpleNamespace(port=11434, listen="lan")}
    host = view({"inference": (Peer("chat", "10.0.0.2", local), GPUS[0])})
    resources = declare(host, network="bridge", listen="10.0.0.2", port=3000)
    server = one(Server, resources)
    assert (server.network, server.ports) == ("bridge", (Port(8080, 3000, "10.0.0.2"),))
    assert server.extra_hosts == {"host.docker.internal": "host-gateway"}
    assert (server.env["PORT"], server.env["HOST"]) == ("8080", "0.0.0.0")
    assert one(Endpoint, resources).url == "http://10.0.0.2:3000/ready"
    assert one(StoredSettings, resources).instance.url == "http://127.0.0.1:8080"
    assert one(Proof, resources).backends == ("http://host.docker.internal:11434", "http://10.0.0.11:11434")


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("10.0.0.2", "http://10.0.0.2:8080"),
        ("::", "http://[::1]:8080"),
        ("fd00::2", "http://[fd00::2]:8080"),
    ],
)
def test_the_server_is_asked_where_it_listens(listen: str, url: str) -> None:
    resources = declare(listen=listen)
    assert one(Endpoint, resources).url == f"{url}/ready"
    assert one(StoredSettings, resources).instance.url == url


def test_a_firewall_of_the_host_lets_in_what_must_pass_it() -> None:
    local = {"ollama": SimpleNamespace(port=11500, listen="lan")}
    host = view({"inference": (Peer("chat", "10.0.0.2", local), GPUS[0])}, settings=local)

    def allowed(**settings: Any) -> tuple[Allow, ...]:
        return one(HostFirewall, declare(host, **settings)).allowed

    assert allowed() == (Allow(8080),)
    assert allowed(listen="127.0.0.1") == ()
    assert allowed(allow_networks=["10.1.0.0/16"]) == (Allow(8080, ("10.1.0.0/16",)),)
    # Docker publishes ports past it; the container comes in at the bridge, where its host is a backend.
    assert allowed(network="bridge", allow_networks=["10.1.0.0/16"]) == (Allow(11500, None, "docker0"),)
    assert one(HostFirewall, declare(network="bridge")).allowed == ()


def test_who_may_reach_the_port_is_guarded_published_or_not() -> None:
    host = view({"inference": GPUS, "office": (Peer("desk", "10.0.0.9", {}), Peer("chat", "10.0.0.2", {}))})
    for network in ("host", "bridge"):
        resources = declare(host, network=network, port=3000, allow=["office"], allow_networks=["10.1.0.0/16"])
        guarded = one(Firewall, resources)
        assert (guarded.id, guarded.ports) == (
            "firewall:provision-open-webui",
            (Guarded(3000, ("10.0.0.9", "10.1.0.0/16")),),
        )
        assert one(Package, resources).names == ("nftables",)
    want = ROLE.Settings.model_validate({**MINIMAL, "allow": ["office"]})
    assert [port.sources for port in vars(ROLE)["ports"](host, want)] == [("10.0.0.9",)]
    # Nobody but the host itself, which is not everybody.
    alone = replace(host, peers={"inference": GPUS, "own": (Peer("chat", "10.0.0.2", {}),)}.__getitem__)
    assert one(Firewall, declare(alone, allow=["own"])).ports == (Guarded(8080, ()),)
    everybody = declare(host)
    assert one(Firewall, everybody).ports == ()
    assert not [resource for resource in everybody if isinstance(resource, Package)]
    with pytest.raises(ValueError, match=r"'10\.1\.0\.0/99' is not a network or an address such as 10\.1\.0\.0/16"):
        declare(allow_networks=["10.1.0.0/99"])


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_a_port_on_loopback_answers_nobody_else_whoever_is_allowed(listen: str) -> None:
    want = ROLE.Settings.model_validate({**MINIMAL, "listen": listen, "allow_networks": ["10.1.0.0/16"]})
    (port,) = vars(ROLE)["ports"](view(), want)
    assert (port.port, port.sources, port.why) == (8080, (), f"open_webui.listen is {listen}")


def test_the_ollama_of_the_same_host_is_the_default_backend() -> None:
    ollama = SimpleNamespace(port=11500, listen="loopback")
    host = view(roles=("docker", "ollama", "open_webui"), settings={"ollama": ollama})
    assert one(Proof, declare(host, backends={})).backends == ("http://127.0.0.1:11500",)


def test_a_backend_named_twice_is_one() -> None:
    backends = {"group": "inference", "hosts": ["gpu01"], "urls": ["http://10.0.0.12:11434", "http://other:1"]}
    host = view({"inference": GPUS, "gpu01": GPUS[:1]})
    expected = ("http://10.0.0.11:11434", "http://10.0.0.12:11434", "http://other:1")
    proof = one(Proof, declare(host, backends=backends))
    assert proof.backends == expected
    assert proof.hosts == {expected[0]: "gpu01", expected[1]: "gpu02"}


def test_a_group_of_users_gets_the_models_that_the_backends_declare() -> None:
    resources = declare(models_for="staff")
    access = one(ModelAccess, resources)
    assert (access.instance.group, access.models) == ("staff", ("gpt-oss:20b", "tiny:latest"))
    assert one(Server, resources).env["BYPASS_MODEL_ACCESS_CONTROL"] == "false"


def test_embeddings_come_from_the_backends() -> None:
    resources = declare(embedding="nomic-embed-text")
    values = one(StoredSettings, resources).values
    assert (values["rag.embedding_engine"], values["rag.embedding_model"]) == ("ollama", "nomic-embed-text")
    assert one(Server, resources).env["RAG_EMBEDDING_ENGINE"] == "ollama"


def test_a_site_with_artifacts_is_offline_and_loads_the_image(tmp_path: Path) -> None:
    archive = tmp_path / "open-webui-v0.12.4.tar.zst"
    archive.touch()
    resources = declare(view(artifacts=tmp_path))
    assert one(Image, resources).archive == archive


@pytest.mark.parametrize(("declared", "expected"), [(None, "true"), (True, "true"), (False, "false")])
def test_offline_follows_the_artifacts_unless_it_is_said(tmp_path: Path, declared: bool | None, expected: str) -> None:
    assert one(Server, declare(view(artifacts=tmp_path), offline=declared)).env["OFFLINE_MODE"] == expected


def test_a_folder_of_the_host_is_no_docker_volume() -> None:
    resources = declare(volume="/srv/webui")
    assert "volume:/srv/webui" not in [resource.id for resource in resources]
    assert one(Server, resources).spec()["mounts"][0]["kind"] == "bind"


def test_starting_anew_beside_old_data_must_be_said() -> None:
    ids = [resource.id for resource in declare(allow_empty=True)]
    assert not [name for name in ids if name.startswith("open_webui_data")]


@pytest.mark.parametrize(
    ("host", "settings", "message"),
    [
        (view({"inference": (Peer("gpu01", "10.0.0.11", {"ollama": LOOPBACK}),)}), {},
         "the Ollama of gpu01 listens on loopback only; set ollama.listen: lan there"),
        (view(), {"backends": {}}, "no role ollama"),
        (view(roles=("ollama",), settings={"ollama": LOOPBACK}),
         {"backends": {}, "network": "bridge"}, "bridge cannot reach an Ollama on loopback"),
        (view(), {"archive": "webui.tar"}, "no file webui.tar"),
    ],
    ids=["loopback", "none", "bridge", "archive"],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_the_host_is_touched(
    host: HostView, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        declare(host, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prot": 8080}, "Extra inputs"),
        ({"environment": {"DEFAULT_USER_ROLE": "user"}}, "write it under settings as ui.default_user_role"),
        ({"environment": {"CORS_ALOW_ORIGIN": "x"}}, "did you mean 'CORS_ALLOW_ORIGIN'"),
        ({"settings": {"ui.enable_signup": True}}, "write open_webui.signup"),
        ({"settings": {"ui.enable_signups": True}}, "did you mean 'ui.enable_signup'"),
        ({"backends": {"urls": ["gpu01:11434"]}}, "is not a URL"),
        ({"network": "bridge", "backends": {"urls": ["http://127.0.0.1:11434"]}}, "host.docker.internal"),
        ({"image": "ghcr.io/open-webui/open-webui"}, "should match"),
        ({"admin": {"email": "it@office.lan", "password": "plain"}}, "a secret does not stand in the inventory"),
        ({"admin": {"email": "nobody", "password": Secret.of("x")}}, "should match"),
        ({"memory": "lots"}, "is not a size"),
    ],
)
def test_mistakes_in_the_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ROLE.Settings.model_validate({**MINIMAL, **settings})


def test_a_plan_says_that_the_databases_are_copied_before_another_image() -> None:
    old, new = one(Server, declare()), one(Server, declare(image="ghcr.io/open-webui/open-webui:v0.13.0"))
    labels = {"provision.spec": old.hash(), "provision.public": json.dumps(old.spec())}
    state = {"Status": "running", "Health": {"Status": "healthy"}}
    there = {"Name": "/open-webui", "Image": "sha256:1", "Config": {"Labels": labels}, "State": state}
    text = "container " + json.dumps(there)
    assert old.plan(old.observe(Section(0, text.encode())), Pending()) is None
    change = new.plan(new.observe(Section(0, text.encode())), Pending())
    assert change is not None
    assert (change.action, change.after["backup"]) == ("replace", "/app/backend/data/backups")
