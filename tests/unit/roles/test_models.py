"""What the role models declares, and what it refuses before any host is asked."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from provision.data import data_root
from provision.errors import InputError
from provision.resources.base import Resource
from provision.resources.derived_model import DerivedModel
from provision.resources.model_prune import ModelPrune
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.roles import load_role
from provision.templates import Templates
from provision.view import HostView
from tests.unit.samples import SERVER

ROLE: Any = load_role("models")


class Fleet:
    """A folder with files beside an inventory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.templates = Templates((folder / "templates", data_root() / "templates"))

    def write(self, name: str, text: str | bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def find(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.exists() else None

    def declare(
        self, models: Any, host_vars: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[Resource]:
        view = HostView(
            "gpu",
            SERVER,
            ("models",),
            settings or {},
            host_vars or {},
            self.templates.render,
            self.find,
            lambda _: (),
        )
        return list(ROLE.declare(view, ROLE.Settings.model_validate(models)))

    def mistakes(self, models: Any) -> list[str]:
        return [
            str(mistake)
            for mistake in ROLE.check(ROLE.Settings.model_validate(models), self.templates.render, self.find)
        ]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def ids(resources: list[Resource]) -> list[str]:
    return [resource.id for resource in resources]


@pytest.mark.parametrize(
    "models", [["tiny", "gpt-oss:20b"], {"tiny": None, "gpt-oss:20b": {}}], ids=["list", "mapping"]
)
def test_a_name_is_enough(fleet: Fleet, models: Any) -> None:
    found = fleet.declare(models)
    assert ids(found) == ["model:tiny:latest", "model:gpt-oss:20b"]
    assert all(isinstance(resource, OllamaModel) and resource.source is None for resource in found)


def test_nothing_is_removed_unless_it_is_said(fleet: Fleet) -> None:
    assert ids(fleet.declare(["tiny"])) == ["model:tiny:latest"]
    (_, prune) = fleet.declare(["tiny"], {"models_prune": True})
    assert isinstance(prune, ModelPrune)
    assert prune.keep == ("tiny:latest",)
    with pytest.raises(InputError, match="models_prune is true or false"):
        fleet.declare(["tiny"], {"models_prune": "yes"})


def test_a_base_comes_before_what_is_derived_from_it_and_is_kept(fleet: Fleet) -> None:
    models = {"z": {"from": "a", "system": "x"}, "a": {"from": "gpt-oss:20b", "parameters": {"num_ctx": 512}}}
    found = fleet.declare(models, {"models_prune": True})
    assert ids(found) == ["model:gpt-oss:20b", "model:a:latest", "model:z:latest", "models:undeclared"]
    base, first, second, prune = found
    assert isinstance(base, OllamaModel)
    assert isinstance(first, DerivedModel)
    assert isinstance(second, DerivedModel)
    assert isinstance(prune, ModelPrune)
    assert first.base is base
    assert second.base is first
    assert set(prune.keep) == {"gpt-oss:20b", "a:latest", "z:latest"}


def test_the_settings_go_before_the_modelfile(fleet: Fleet) -> None:
    fleet.write("m.Modelfile", "FROM tiny\nSYSTEM file\nPARAMETER num_ctx 512\nPARAMETER top_k 5\n")
    models = {"helper": {"modelfile": "m.Modelfile", "from": "other", "system": "mine", "parameters": {"num_ctx": 9}}}
    _, helper = fleet.declare(models)
    assert isinstance(helper, DerivedModel)
    assert helper.modelfile.sources == ("other",)
    assert helper.modelfile.system == "mine"
    assert helper.modelfile.parameters == {"num_ctx": 9, "top_k": 5}


def test_a_template_gets_the_settings_and_leaves_the_server_s_braces_alone(fleet: Fleet) -> None:
    text = "FROM [[ base ]]\n[% if parameters.num_ctx > 5 %]\nSYSTEM [[ model ]]\n[% endif %]\nTEMPLATE {{ .Prompt }}\n"
    fleet.write("templates/models/x.Modelfile.j2", text)
    models = {"helper": {"from": "tiny", "modelfile": "models/x.Modelfile.j2", "parameters": {"num_ctx": 9}}}
    _, helper = fleet.declare(models)
    assert isinstance(helper, DerivedModel)
    assert (helper.modelfile.system, helper.modelfile.template) == ("helper", "{{ .Prompt }}")


def test_the_shipped_template_makes_a_model_on_gpt_oss(fleet: Fleet) -> None:
    found = fleet.declare({"office-assistant": {"modelfile": "models/assistant.Modelfile.j2"}})
    assert ids(found) == ["model:gpt-oss:20b", "model:office-assistant:latest"]


def test_files_beside_a_modelfile_are_uploaded(fleet: Fleet) -> None:
    fleet.write("m/tiny.gguf", b"GGUF")
    fleet.write("m/adapter.gguf", b"GGUF")
    fleet.write("m/Modelfile", "FROM ./tiny.gguf\nADAPTER ./adapter.gguf\n")
    (helper,) = fleet.declare({"helper": {"modelfile": "m/Modelfile"}})
    assert isinstance(helper, DerivedModel)
    assert helper.files == (fleet.folder / "m/tiny.gguf",)
    assert helper.adapter == fleet.folder / "m/adapter.gguf"
    assert helper.source is None


def test_port_and_store_are_those_of_the_role_ollama(fleet: Fleet) -> None:
    ollama = SimpleNamespace(port=1234, models_dir="/srv/models")
    (model,) = fleet.declare(["tiny"], settings={"ollama": ollama})
    assert isinstance(model, OllamaModel)
    assert model.server == Server(1234, "/srv/models")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["a b"], "is not a model name"),
        (["gpt-oss:20b-cloud"], "runs at ollama.com"),
        (["tiny", "Tiny:latest"], "the same model several times"),
        ({"a": {"form": "b"}}, "Extra inputs"),
        ({"a": {"from": "b", "digest": "0" * 12}}, "is not pulled"),
        ({"a": {"gguf": "x", "source": "h/n/m"}}, "is not pulled"),
        ({"a": {"parameters": {"num_ctx": 5}}}, "say `from`"),
        ({"a": {"from": "b", "parameters": {"num_ctxx": 5}}}, "num_ctxx"),
        ({"a": {"from": "b", "parameters": {"num_ctx": "many"}}}, "valid integer"),
        ({"a": {"digest": "latest"}}, "match pattern"),
    ],
)
def test_wrong_settings_are_refused(models: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ROLE.Settings.model_validate(models)


@pytest.mark.parametrize(
    ("file", "model", "mistake"),
    [
        ("FROM tiny\nPARAMETER heat 1\n", {}, "5.Modelfile:2:11: unknown parameter 'heat'"),
        ("FROM tiny\nSYSTEM x\nTEMPLATE y\n", {"from": "gpt-oss:20b"}, "keeps its own template"),
        ("FROM ./gone.gguf\n", {}, "FROM: './gone.gguf' is not a model name"),
        ("FROM a\nFROM b\n", {}, "several FROM lines need files"),
        ("FROM tiny\nADAPTER ./gone.gguf\n", {}, "helper: there is no file"),
        (None, {}, "helper: there is no file 5.Modelfile"),
        (b"\xff\x00\xff", {}, "neither UTF-8 nor UTF-16"),
    ],
)
def test_mistakes_in_files_are_found_without_a_host(
    fleet: Fleet, file: str | bytes | None, model: dict[str, Any], mistake: str
) -> None:
    if file is not None:
        fleet.write("5.Modelfile", file)
    (found,) = fleet.mistakes({"helper": {"modelfile": "5.Modelfile", **model}})
    assert mistake in found


def test_a_circle_is_found(fleet: Fleet) -> None:
    (found,) = fleet.mistakes({"a": {"from": "b"}, "b": {"from": "a"}})
    assert "in a circle: a -> b -> a" in found


def test_a_missing_gguf_is_found(fleet: Fleet) -> None:
    assert fleet.mistakes({"a": {"gguf": "a.gguf"}}) == ["models: a: there is no file a.gguf"]


def test_utf_16_is_read_as_ollama_does(fleet: Fleet) -> None:
    fleet.write("m.Modelfile", "FROM tiny\nSYSTEM grüße\n".encode("utf-16"))
    _, helper = fleet.declare({"helper": {"modelfile": "m.Modelfile"}})
    assert isinstance(helper, DerivedModel)
    assert helper.modelfile.system == "grüße"
