"""Models in a real Ollama server of a real host: pulls with the faults of registries, uploads, derived models."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ResourceFailed
from provision.models.modelfile import Modelfile, parse
from provision.resources.derived_model import DerivedModel
from provision.resources.model_prune import ModelPrune
from provision.resources.ollama_model import OllamaModel
from provision.values import sha256
from tests.lab import gguf, lora, ollama
from tests.lab.applying import Applier, actions
from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.reached import Desk
from tests.lab.registry import Fault, Registry
from tests.lab.registry import registry as serving
from tests.lab.server import Server
from tests.lab.wait import until

STORE = "/usr/share/ollama/.ollama/models"


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    host = LabHost.start()
    office = Office(tmp_path_factory.mktemp("office"))
    office.add(host, provision_roles=["ollama"], artifacts=str(ollama.releases()))
    office.variables["ollama"] = {"version": "0.9.3", "allow_vulnerable": True}
    office.check("apply")
    yield Server(host)
    host.remove()


@pytest.fixture
def server(served: Server) -> Iterator[Server]:
    """One without a model, without a blob, on a host that knows nothing of an earlier run."""
    yield served
    for name in served.names():
        served.unload(name)
    until(lambda: not served.loaded(), "all models unloaded")
    # Tests come faster than systemd lets a unit be started (five times in ten seconds).
    again = "systemctl reset-failed ollama; systemctl start ollama"
    served.host.check(f"systemctl stop ollama; rm -rf {STORE}/* /var/lib/provision; {again}")
    served.wait()


@pytest.fixture
def applier(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Applier:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Applier(server.host, Desk.at(tmp_path / "desk").knows(server.host))


@pytest.fixture(scope="module")
def registry(lab: Lab) -> Iterator[Registry]:
    with serving() as running:
        running.add("library/tiny", gguf.tiny())
        yield running


def pulled(registry: Registry, name: str = "tiny", **settings: Any) -> OllamaModel:
    return OllamaModel(name, f"{registry.address}/library/tiny:latest", insecure=True, **settings)


def test_a_pull_from_another_registry_gets_the_short_name_alone(
    applier: Applier, server: Server, registry: Registry
) -> None:
    (change,) = applier.plan(pulled(registry)).changes
    assert re.match(r"not there; 292\.8 kB to pull, .* free in /usr/share/ollama", change.why)
    assert actions(applier.apply(pulled(registry))) == ["pull model:tiny:latest"]
    assert server.names() == ["tiny:latest"]
    assert server.generate("tiny")["done"]
    assert actions(applier.apply(pulled(registry))) == []


def test_a_pinned_model_is_the_pinned_one_or_is_not_pulled(
    applier: Applier, server: Server, registry: Registry
) -> None:
    with pytest.raises(ResourceFailed, match=r"the registry has [0-9a-f]{12}, pinned is 0{12}; nothing was pulled"):
        applier.apply(pulled(registry, digest="0" * 12))
    assert server.names() == []
    weights = next(digest for digest, data in registry.blobs.items() if data.startswith(b"GGUF"))
    applier.apply(pulled(registry, digest=weights))
    assert server.names() == ["tiny:latest"]


# The first GET of a blob only looks for a redirect: a fault in it alone would pass unseen.
@pytest.mark.parametrize(("fault", "times"), [(Fault.CUT, 3), (Fault.WRONG, 2)])
def test_a_fault_that_passes_does_not_need_a_second_run(
    applier: Applier, server: Server, registry: Registry, fault: Fault, times: int
) -> None:
    before = len(registry.served)
    with registry.misbehaving(fault, times):
        applier.apply(pulled(registry))
    if fault is Fault.CUT:
        resumed(registry, before)
    assert server.generate("tiny")["done"]


def resumed(registry: Registry, before: int) -> None:
    """Each request for weights began where the one before had broken off: nothing was fetched twice.

    Requests from the first byte break off half-way, or look for a redirect only (ollama: server/download.go).
    """
    weights = next(digest for digest, data in registry.blobs.items() if data.startswith(b"GGUF"))
    size = len(registry.blobs[weights])
    later = [(first, count) for digest, first, count in registry.served[before:] if digest == weights and first]
    begins = [size // 2]
    for _, count in later:
        begins.append(begins[-1] + count)
    assert [first for first, _ in later] == begins[:-1]
    assert begins[-1] == size


def test_a_stalled_pull_is_ended_and_made_again(applier: Applier, server: Server, registry: Registry) -> None:
    before = len(registry.served)
    with registry.misbehaving(Fault.STALL, 2):
        applier.apply(pulled(registry, stall=5))
    resumed(registry, before)
    texts = [event.text for event in applier.events if hasattr(event, "text")]
    assert any("no progress for 5 s" in text for text in texts)
    assert server.generate("tiny")["done"]


def test_a_blob_with_another_digest_is_an_error_line_in_a_good_answer(
    applier: Applier, server: Server, registry: Registry
) -> None:
    with registry.misbehaving(Fault.WRONG), pytest.raises(ResourceFailed, match="model:tiny:latest: digest mismatch"):
        applier.apply(pulled(registry, attempts=1))
    assert server.names() == []
    assert actions(applier.apply(pulled(registry))) == ["pull model:tiny:latest"]


def test_a_model_that_the_registry_does_not_have_is_told_at_once(
    applier: Applier, server: Server, registry: Registry
) -> None:
    wrong = OllamaModel("nope", f"{registry.address}/library/nope:latest", insecure=True)
    with pytest.raises(ResourceFailed, match="pull model manifest: file does not exist"):
        applier.apply(wrong)


def test_a_server_too_old_for_a_model_is_told_in_the_registry_s_words(
    applier: Applier, server: Server, registry: Registry
) -> None:
    with registry.misbehaving(Fault.REFUSE), pytest.raises(ResourceFailed, match="requires a newer version of Ollama"):
        applier.apply(pulled(registry))


def test_no_space_is_told_with_numbers_before_anything_is_pulled(
    applier: Applier, server: Server, registry: Registry
) -> None:
    server.host.check(f"mount -t tmpfs -o size=200k,uid=$(id -u ollama),mode=0700 none {STORE}")
    try:
        (change,) = applier.plan(pulled(registry)).changes
        assert re.search(r"292\.8 kB to pull, 20\d\.\d kB free in .*: not enough", change.why)
        before = len(registry.requests)
        with pytest.raises(ResourceFailed, match=r"no space in .*: 322\.1 kB are needed, 0 MB are free"):
            applier.apply(pulled(registry))
        assert not [line for line in registry.requests[before:] if "/blobs/" in line]
    finally:
        server.host.check(f"umount {STORE}")


def test_a_connection_lost_in_a_pull_does_not_stop_it_and_the_next_run_rejoins(
    applier: Applier, server: Server, registry: Registry
) -> None:
    with registry.misbehaving(Fault.STALL, 2):
        before = len(registry.requests)
        with applier.applying(pulled(registry)) as lose:
            until(lambda: any("GET" in line and "/blobs/" in line for line in registry.requests[before:]), "the pull")
            lose()
        assert "provision-model-pull" in server.host.check("systemctl list-units 'provision-*' --no-legend")
    assert actions(applier.apply(pulled(registry))) == []
    assert server.names() == ["tiny:latest"]


def test_a_gguf_file_of_this_machine_is_uploaded_once(applier: Applier, server: Server, tmp_path: Path) -> None:
    file = Path(shutil.copy(gguf.tiny(), tmp_path / "office.gguf"))
    wanted = OllamaModel("own", gguf=file)
    assert actions(applier.apply(wanted)) == ["upload model:own:latest"]
    assert server.generate("own")["done"]
    assert server.host.check("ls /var/lib/provision/incoming") == ""
    assert actions(applier.apply(wanted)) == []
    with file.open("ab") as end:
        end.write(b"\0" * 32)
    (change,) = applier.plan(wanted).changes
    assert change.why.startswith("made from another file")
    applier.apply(wanted)
    assert server.loaded() == []
    assert applier.plan(wanted).changes == ()


def test_a_broken_blob_is_sent_again(applier: Applier, server: Server) -> None:
    wanted = OllamaModel("own", gguf=gguf.tiny())
    server.host.check(
        f"install -d -o ollama {STORE}/blobs; echo broken >{STORE}/blobs/{wanted.weights.replace(':', '-')}"
    )
    applier.apply(wanted)
    assert server.generate("own")["done"]


MODELFILE = parse(
    """FROM tiny
PARAMETER num_ctx 512
PARAMETER temperature 0.7
PARAMETER stop "<|end|>"
PARAMETER stop two words
TEMPLATE {{ .System }} {{ .Prompt }}
SYSTEM \"\"\"You are brief.
And kind: "äöü" — 🙂\"\"\"
MESSAGE user hello
MESSAGE assistant hi
LICENSE free
LICENSE as in speech
"""
)


def helper(modelfile: Modelfile = MODELFILE) -> tuple[OllamaModel, DerivedModel]:
    base = OllamaModel("tiny", gguf=gguf.tiny())
    return base, DerivedModel("helper", modelfile, base=base)


def test_a_derived_model_is_what_its_modelfile_says(applier: Applier, server: Server) -> None:
    assert actions(applier.apply(*helper())) == ["upload model:tiny:latest", "create model:helper:latest"]
    shown = server.post("show", model="helper")
    assert shown["system"] == MODELFILE.system
    assert shown["template"] == MODELFILE.template
    assert shown["messages"] == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    assert re.search(r'stop\s+"<\|end\|>"\nstop\s+"two words"', shown["parameters"])
    assert {"free", "as in speech"} <= set(shown["license"].split("\n"))
    assert actions(applier.apply(*helper())) == []


CHANGES = {
    "a parameter": replace(MODELFILE, parameters={**MODELFILE.parameters, "num_ctx": 1024}),
    "a parameter less": replace(MODELFILE, parameters={"num_ctx": 512}),
    "the order of stop words": replace(
        MODELFILE, parameters={**MODELFILE.parameters, "stop": ["two words", "<|end|>"]}
    ),
    "the system prompt": replace(MODELFILE, system="You are long."),
    "no system prompt": replace(MODELFILE, system=None),
    "the template": replace(MODELFILE, template="{{ .Prompt }}"),
    "no template": replace(MODELFILE, template=None),
    "a message": replace(MODELFILE, messages=(("user", "hello"), ("assistant", "what?"))),
    "no message": replace(MODELFILE, messages=()),
    "a licence": replace(MODELFILE, licenses=("free",)),
}


def test_it_is_made_again_exactly_when_something_changed(applier: Applier, server: Server) -> None:
    applier.apply(*helper())
    for what, changed in CHANGES.items():
        assert actions(applier.apply(*helper(changed))) == ["create model:helper:latest"], what
        assert actions(applier.apply(*helper(changed))) == [], what


def test_it_is_made_again_when_somebody_else_changed_it(applier: Applier, server: Server) -> None:
    applier.apply(*helper())
    server.post("create", model="helper", **{"from": "tiny"}, system="Be evil.", stream=False)
    (change,) = applier.plan(*helper()).changes
    assert change.why == "system, template, parameters, messages, license changed"
    applier.apply(*helper())
    assert server.post("show", model="helper")["system"] == MODELFILE.system


def test_it_is_made_again_when_its_base_changed(applier: Applier, server: Server, tmp_path: Path) -> None:
    applier.apply(*helper())
    other = Path(shutil.copy(gguf.tiny(), tmp_path / "other.gguf"))
    with other.open("ab") as end:
        end.write(b"\0" * 32)
    base = OllamaModel("tiny", gguf=other)
    wanted = (base, DerivedModel("helper", MODELFILE, base=base))
    planned = applier.plan(*wanted).changes
    assert [change.uncertain for change in planned] == [False, True]
    assert planned[1].why == "after upload of its base tiny:latest"
    assert actions(applier.apply(*wanted)) == ["upload model:tiny:latest", "create model:helper:latest"]
    assert applier.plan(*wanted).changes == ()


def test_new_settings_count_at_once_although_the_model_was_in_memory(applier: Applier, server: Server) -> None:
    applier.apply(*helper())
    server.generate("helper")
    assert server.loaded() == ["helper:latest"]
    applier.apply(*helper(CHANGES["a parameter"]))
    assert server.loaded() == []
    server.generate("helper")
    assert server.get("ps")["models"][0]["digest"] == server.digests()["helper:latest"]


def test_old_settings_that_an_interrupted_run_left_in_memory_are_found(applier: Applier, server: Server) -> None:
    applier.apply(*helper())
    server.generate("helper")
    # The create of a run that was killed before it could unload the model.
    base, changed = helper(CHANGES["the system prompt"])
    server.post("create", **changed.body() | {"stream": False})
    assert actions(applier.apply(base, changed)) == ["unload model:helper:latest"]
    assert server.loaded() == []


def test_a_model_from_a_file_beside_its_modelfile(applier: Applier, server: Server) -> None:
    wanted = DerivedModel("filed", parse("FROM ./tiny.gguf\nSYSTEM x\n"), files=(gguf.tiny(),))
    applier.apply(wanted)
    assert server.post("show", model="filed")["system"] == "x"
    assert applier.plan(wanted).changes == ()


def test_an_adapter_is_uploaded_and_counts(applier: Applier, server: Server, tmp_path: Path) -> None:
    base = OllamaModel("tiny", gguf=gguf.tiny())

    def adapted(file: Path) -> DerivedModel:
        return DerivedModel("adapted", parse(f"FROM tiny\nADAPTER ./{file.name}\n"), adapter=file, base=base)

    assert actions(applier.apply(base, adapted(lora.adapter())))[-1] == "create model:adapted:latest"
    digest = sha256(lora.adapter().read_bytes())
    layers = json.loads(server.host.check(f"cat {STORE}/manifests/registry.ollama.ai/library/adapted/latest"))["layers"]
    kinds = {layer["mediaType"].rpartition(".")[2]: layer["digest"] for layer in layers}
    assert kinds["adapter"] == f"sha256:{digest}"
    # The server loads it into its model and generates other words.
    words = [server.generate(model, num_predict=20, temperature=0, seed=1)["response"] for model in ("tiny", "adapted")]
    assert words[0] != words[1]
    assert applier.plan(base, adapted(lora.adapter())).changes == ()
    other = Path(shutil.copy(lora.adapter(), tmp_path / "other.gguf"))
    with other.open("ab") as end:
        end.write(b"\0" * 32)
    (change,) = applier.plan(base, adapted(other)).changes
    assert change.why == "adapter changed"
    applier.apply(base, adapted(other))
    assert applier.plan(base, adapted(other)).changes == ()


def test_what_is_not_declared_goes_by_its_exact_name(applier: Applier, server: Server) -> None:
    applier.apply(*helper(), OllamaModel("tiny:other", gguf=gguf.tiny()))
    prune = ModelPrune(("tiny:latest", "helper:latest"))
    (change,) = applier.plan(*helper(), prune).changes
    assert list(change.before) == ["tiny:other"]
    applier.apply(*helper(), prune)
    assert server.names() == ["helper:latest", "tiny:latest"]


def test_a_server_that_does_not_run_is_told(applier: Applier, server: Server) -> None:
    server.host.check("systemctl stop ollama")
    try:
        (change,) = applier.plan(OllamaModel("tiny", gguf=gguf.tiny())).changes
        assert change.uncertain
        with pytest.raises(ResourceFailed, match=r"model:tiny:latest: .*curl: \(7\)"):
            applier.apply(OllamaModel("tiny", gguf=gguf.tiny()))
    finally:
        server.host.check("systemctl start ollama")
        server.wait()


def test_an_inventory_with_models_of_every_kind(server: Server, registry: Registry, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    office.add(server.host, provision_roles=["models"])
    shutil.copy(gguf.tiny(), office.folder / "own.gguf")
    (office.folder / "brief.Modelfile").write_text('FROM own\nSYSTEM """Be brief.\n"""\nPARAMETER num_ctx 512\n')
    source = f"{registry.address}/library/tiny:latest"
    office.variables["models"] = {
        "brief": {"modelfile": "brief.Modelfile", "parameters": {"top_k": 5}},
        "own": {"gguf": "own.gguf"},
        "tiny": {"source": source, "insecure": True},
    }
    office.check("check")
    assert "3 changed" in office.check("apply")
    assert server.names() == ["brief:latest", "own:latest", "tiny:latest"]
    assert "nothing to change" in office.check("plan", "--exit-code")
    office.variables["models"] = {"own": {"gguf": "own.gguf"}}
    assert "model:brief:latest" in office.check("plan")
    office.variables["models_prune"] = True
    assert "1 changed" in office.check("apply")
    assert server.names() == ["own:latest"]


def test_a_mistake_in_a_modelfile_is_told_before_any_host_is_asked(tmp_path: Path) -> None:
    office = Office(tmp_path / "office")
    office.hosts = {"nowhere.invalid": {"provision_roles": ["models"]}}
    (office.folder / "m.Modelfile").write_text("FROM tiny\nPARAMETER num_ctxx 5\n")
    office.variables["models"] = {"m": {"modelfile": "m.Modelfile"}}
    for command in ("check", "plan", "apply"):
        result = office.run(command)
        assert result.rc == 3
        assert "m.Modelfile:2:11: unknown parameter 'num_ctxx', did you mean 'num_ctx'?" in result.out + result.err
