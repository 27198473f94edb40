"""What models, Docker and drivers send to a host: shellcheck has nothing to say, three shells can read it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from provision.models.modelfile import Modelfile
from provision.resources.base import Change, Job, Pending, Resource, Run
from provision.resources.ca import STORES, Certificates
from provision.resources.cdi import DockerGpus
from provision.resources.container import Container
from provision.resources.derived_model import DerivedModel
from provision.resources.docker_config import KEEP_CONTAINERS, RELOAD, RESTORE, DockerConfig
from provision.resources.docker_zone import DockerZone
from provision.resources.endpoint import Endpoint
from provision.resources.firewall import Firewall, Guarded
from provision.resources.host_firewall import Allow, HostFirewall, Seen
from provision.resources.image import Image
from provision.resources.model_prune import ModelPrune
from provision.resources.model_store import Store, Tag
from provision.resources.models_directory import ModelsDirectory
from provision.resources.network import Network
from provision.resources.nvidia_driver import NvidiaDriver, OldDriver
from provision.resources.ollama_model import OllamaModel
from provision.resources.other_engine import OtherEngine
from provision.resources.package import Package
from provision.resources.release import Release
from provision.resources.repository import Repository
from provision.resources.selinux import SelinuxBoolean, SelinuxLabel
from provision.resources.service import Service
from provision.resources.volume import Volume

MANAGERS = ("apt", "dnf", "zypper")
FOUND = Store(tags={"registry.ollama.ai/library/old:latest": Tag("old:latest", "aa", 1)}, free=1 << 40)


@pytest.fixture
def resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Resource]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = tmp_path / "it's weights.gguf"
    weights.write_bytes(b"GGUF")
    archive = tmp_path / "o.tgz"
    archive.write_bytes(b"")
    odd = """it's "a" $(b) `c` %s \\n {d}"""
    return [
        Endpoint("http://127.0.0.1/x?a=1&b='2'", expect={"text": odd, "n": {"m": 1}}),
        OllamaModel("tiny", "models.lan:5000/library/tiny:latest", insecure=True, digest="0" * 12),
        OllamaModel("own", gguf=weights),
        DerivedModel("helper", Modelfile(("tiny",), {"num_ctx": 5}, system=odd)),
        DerivedModel("filed", Modelfile(("./x.gguf",)), files=(weights,), adapter=weights),
        ModelPrune(("tiny",)),
        ModelsDirectory("/srv/it's models", "ollama", "ollama"),
        Release(
            "ollama", "1.2.3", ("https://m.lan/o.tar.zst", "https://o.org/o.tar.zst"), not_in=tmp_path / "it's here"
        ),
        Release("ollama", "1.2.3", archive, "aa" * 32),
        Volume("data"),
        Network("ai"),
        Image("registry.lan:5000/web:1", digest="sha256:ab", tags=("web:2",)),
        Container("web", "web:1"),
        DockerGpus(),
        DockerZone(),
        OtherEngine("docker.io", ("docker-ce",), True),
        SelinuxBoolean("it's"),
        SelinuxLabel("/srv/it's"),
        Firewall((Guarded(8080, ("10.0.0.0/8",)),), part="open-webui"),
        HostFirewall("it's", (Allow(11434, ("10.0.0.0/8",), "docker0"),)),
        NvidiaDriver(550),
        OldDriver("535.183.01"),
        DockerConfig({"live-restore": True}),
        Service("docker", files=("/a", "/b"), before_restart=KEEP_CONTAINERS, on_reload=RELOAD, on_failure=RESTORE),
        *(Package(("it's|other", "b"), name) for name in ("apt", "dnf", "dnf5", "zypper", "pacman")),
        *(
            Repository("own", "https://a.test/x", "", "", "https://a.test/k", "06" * 20, manager=name)
            for name in MANAGERS
        ),
        *(Certificates("office", "-----BEGIN CERTIFICATE-----\n" + "A" * 70 + "\n-----END", name) for name in STORES),
    ]


def scripts(resource: Resource) -> list[str]:
    """Its probe, and what it runs after a change."""
    found = [resource.probe()]
    if isinstance(resource, OllamaModel | DerivedModel | ModelPrune):
        change = resource.plan(FOUND, Pending())
        changes = [change] if change else []
    elif isinstance(resource, Package):
        change = resource.plan({}, Pending())
        changes = [change] if change else []
    elif isinstance(resource, HostFirewall):
        change = resource.plan(Seen("ufw"), Pending())
        changes = [change] if change else []
    else:
        private = {OldDriver: ("libcuda1:amd64",), Repository: ("/etc/apt/it's.list",)}.get(type(resource))
        verbs = {Service: ("restart", "reload"), Release: ("install",)}.get(type(resource), ("pull",))
        changes = [Change(resource.id, verb, "", private=private) for verb in verbs]
    steps = (step for change in changes for step in resource.steps(change))
    return found + [step.script for step in steps if isinstance(step, Run | Job)]


def test_shellcheck_finds_nothing(resources: list[Resource]) -> None:
    for resource in resources:
        for script in scripts(resource):
            # Texts in single quotes are texts; not every probe uses all the functions that they share; a file of the
            # host is not here.
            words = ["shellcheck", "-s", "sh", "-e", "SC2016,SC2317,SC2329,SC1091", "-"]
            ran = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, f"{resource.id}\n{ran.stdout}"


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix"), ("busybox", "sh")], ids=lambda shell: shell[0])
def test_three_shells_can_read_it(resources: list[Resource], shell: tuple[str, ...]) -> None:
    assert shutil.which(shell[0])
    for resource in resources:
        for script in scripts(resource):
            ran = subprocess.run([*shell, "-n", "-c", script], capture_output=True, text=True, check=False)
            assert (ran.returncode, ran.stderr) == (0, ""), resource.id
