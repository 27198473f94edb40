"""Disks, ports, clock and sources, judged from what a host said."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine.plan import Declared, Observation, Plan
from provision.engine.state import State
from provision.errors import HostRefused
from provision.facts.model import FileSystem, Listener, Readings
from provision.preflight.examine import refuse, verdicts
from provision.preflight.finding import Finding
from provision.preflight.sources import Source, judged, proxy, question, sources
from provision.preflight.surroundings import clock, disks, ports, rooms
from provision.resources.base import Change, Resource, Section
from provision.resources.container import Container
from provision.resources.docker_config import DockerConfig
from provision.resources.endpoint import Endpoint
from provision.resources.file import File
from provision.resources.image import Image
from provision.resources.look import Found
from provision.resources.nvidia_driver import NvidiaDriver
from provision.resources.ollama_model import OllamaModel
from provision.resources.release import Release
from provision.resources.repository import Repository
from provision.resources.service import Service
from tests.unit.samples import SERVER

GB = 1_000_000_000
MODELS = "/usr/share/ollama/.ollama/models"


def plan(
    *changing: Resource, action: str = "create", download: int | None = None, also: tuple[Resource, ...] = ()
) -> Plan:
    """A plan that changes these and not the others."""
    declared = Declared.of("gpu01", [("role", resource) for resource in (*changing, *also)])
    changes = tuple(Change(resource.id, action, "why", download=download) for resource in changing)
    return Plan(declared, changes, Observation({}, State()))


def on(mount: str, free: int, *paths: str) -> dict[str, FileSystem]:
    return {path: FileSystem(path, mount, "ext4", 100 * GB, free) for path in paths}


def test_what_lies_on_one_disk_is_added_up() -> None:
    wanted = rooms(plan(OllamaModel("a"), OllamaModel("b"), download=10 * GB), Readings())
    (found,) = disks(wanted, on("/", 20 * GB, MODELS))
    assert (found.level, found.subject) == ("refused", "disk /")
    assert found.text.startswith(
        "not enough room: 22.0 GB are needed, 20.0 GB are free: 11.0 GB for model:a:latest in "
    )


def test_disks_of_their_own_are_told_apart(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar.zst"
    archive.write_bytes(b"x" * 1000)
    wanted = list(rooms(plan(Image("webui:1", archive=archive)), Readings(docker="26.1.5")))
    file_systems = on("/", GB, "/var/lib/provision/incoming") | on("/docker", 100, "/var/lib/docker")
    assert [(one.level, one.subject) for one in disks(wanted, file_systems)] == [
        ("refused", "disk /docker"), ("ok", "disk /"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "declared", "there", "stores"),
    [
        ("28.5.1", {}, "", ["/var/lib/docker"]),
        ("28.5.1", {"data-root": "/srv/docker"}, "", ["/srv/docker"]),
        ("28.5.1", {}, '{"data-root": "/data"}', ["/data"]),
        ("28.5.1", {}, "no JSON", ["/var/lib/docker"]),
        ("29.0.1", {"data-root": "/srv/docker"}, "", ["/var/lib/containerd"]),
        # Which engine comes is not known yet.
        ("", {"data-root": "/srv/docker"}, "", ["/srv/docker", "/var/lib/containerd"]),
    ],
)
def test_images_lie_where_the_engine_keeps_them(
    engine: str, declared: dict[str, str], there: str, stores: list[str]
) -> None:
    config = DockerConfig(declared)
    planned = plan(Image("webui:1"), also=(config,))
    found = Found("file", content=there.encode()) if there else Found("missing")
    planned = replace(planned, observation=Observation({config.id: found}, State()))
    assert [room.where for room in rooms(planned, Readings(docker=engine))] == stores


def test_an_image_counts_once_where_both_places_are_on_one_disk() -> None:
    wanted = list(rooms(plan(Image("webui:1")), Readings()))
    (one,) = disks(wanted, on("/", 6 * GB, "/var/lib/docker", "/var/lib/containerd"))
    assert (one.level, one.text.startswith("5.0 GB are needed, 6.0 GB are free")) == ("ok", True)
    (one,) = disks(wanted, on("/", 4 * GB, "/var/lib/docker", "/var/lib/containerd"))
    assert one.level == "refused"
    two = on("/", 6 * GB, "/var/lib/docker") | on("/var", GB, "/var/lib/containerd")
    assert [(found.level, found.subject) for found in disks(wanted, two)] == [
        ("ok", "disk /"), ("warning", "disk /var"),
    ]  # fmt: skip


def test_a_release_that_is_only_switched_to_wants_no_room() -> None:
    release = Release("ollama", "1.0.0", ("https://example.com/o.tgz",))
    assert list(rooms(plan(release, action="switch"), Readings())) == []
    assert [room.where for room in rooms(plan(release, action="install"), Readings())] == ["/opt/ollama/1.0.0"]


SERVICE = Service("ollama", enabled=True, running=True)
OLLAMA = Endpoint("http://127.0.0.1:11434/api/version", after=(SERVICE,))
WEBUI = Container("open-webui", "webui:1")
CHAT = Endpoint("http://127.0.0.1:3000/ready", after=(WEBUI,))


@pytest.mark.parametrize(
    ("changing", "action", "holder", "told"),
    [
        (SERVICE, "start", "nginx", "taken by nginx, and service:ollama needs it"),
        (SERVICE, "start", "", "taken by a process without a name"),
        (SERVICE, "restart", "ollama", None),
        (WEBUI, "create", "docker-proxy", "taken by docker-proxy, and container:open-webui needs it"),
        (WEBUI, "replace", "docker-proxy", None),
    ],
)
def test_a_port_that_somebody_else_has(changing: Resource, action: str, holder: str, told: str | None) -> None:
    readings = Readings(listeners=(Listener("0.0.0.0", 11434, holder), Listener("0.0.0.0", 3000, holder)))
    found = [one.text for one in ports(plan(changing, action=action, also=(OLLAMA, CHAT)), readings)]
    assert len(found) == (told is not None)
    assert told is None or found[0].startswith(told)


def test_a_clock_that_is_wrong() -> None:
    assert list(clock(Readings(clock=1000), 1200.0)) == []
    assert [one.text.partition(":")[0] for one in clock(Readings(clock=1000), 2000.0)] == [
        "1000 s behind of this machine's"
    ]
    assert list(clock(Readings(), 2000.0)) == []


def test_the_places_that_changes_fetch_from_each_once() -> None:
    made = plan(
        Release("ollama", "1.0.0", ("https://github.com/a/b.tgz",)),
        Repository(
            "docker",
            "https://download.docker.com/linux/debian",
            "trixie",
            "stable",
            "https://key.example/gpg",
            "F" * 40,
        ),
        Image("ghcr.io/open-webui/open-webui:v1"),
        Image("alpine:3"),
        OllamaModel("llama3.2:3b"),
        OllamaModel("gpt-oss:20b"),
        OllamaModel("own", source="models.lan:5000/library/own:1", insecure=True),
        OllamaModel("file", gguf=Path("x.gguf")),
        File("/etc/x", "y"),
        also=(OllamaModel("there:1b", source="other.lan/library/there:1b"),),
    )
    assert [source.url for source in sources(made)] == [
        "https://github.com/",
        "https://download.docker.com/",
        "https://key.example/",
        "https://ghcr.io/",
        "https://registry-1.docker.io/",
        "https://registry.ollama.ai/",
        "http://models.lan:5000/",
    ]
    assert sources(made)[5].needed_by == ("model:llama3.2:3b", "model:gpt-oss:20b")


def test_the_declared_proxy_is_used_before_the_host_has_it() -> None:
    file = File("/etc/provision/proxy.env", 'HTTPS_PROXY="http://u:p@proxy:3128"\nNO_PROXY="localhost,127.0.0.1"\n')
    assert proxy(plan(also=(file,))) == {"HTTPS_PROXY": "http://u:p@proxy:3128", "NO_PROXY": "localhost,127.0.0.1"}
    assert proxy(plan()) == {}


@pytest.mark.parametrize(
    ("out", "level", "told"),
    [
        ("rc=0", "ok", "can be reached; needed by a and 1 more"),
        ("rc=22", "ok", "answers"),
        ("rc=6", "warning", "its name is not known (DNS)"),
        ("curl=missing", "ok", "not tried: curl is not there yet"),
        ("curl=missing\nrc=6", "warning", "its name is not known (DNS)"),
        ("", "warning", "no answer in 10 s"),
    ],
)
def test_what_a_host_says_of_a_source(out: str, level: str, told: str) -> None:
    found = judged(Source("https://ghcr.io/", ("a", "b")), Section(0, out.encode()))
    assert (found.level, found.subject, told in found.text) == (level, "source https://ghcr.io", True)


def test_the_question_itself_on_this_machine(tmp_path: Path) -> None:
    """Nobody listens at the port; the name is nobody's (RFC 2606)."""
    for url, status in (("http://127.0.0.1:1/", "rc=7"), ("http://nobody.invalid/", "rc=6")):
        ended = subprocess.run(("sh", "-c", question(Source(url, ("a",)))), capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == status


def test_the_first_refusal_is_the_hosts_error() -> None:
    refuse("gpu01", (Finding("warning", "clock", "wrong"), Finding("ok", "disk /", "fine")))
    with pytest.raises(HostRefused, match=r"gpu01: model:a: too big \(and 1 more\); nothing was touched"):
        refuse("gpu01", (Finding("refused", "model:a", "too big"), Finding("refused", "disk /", "full")))


def test_models_wait_for_the_driver_that_the_plan_brings_up() -> None:
    model, driver = OllamaModel("gpt-oss:20b"), NvidiaDriver(550)
    (waiting,) = verdicts((model,), plan(driver, model), SERVER, {}, {})
    assert (waiting.level, waiting.subject) == ("warning", "driver:nvidia")
    (judged,) = verdicts((model,), plan(model, also=(driver,)), SERVER, {}, {})
    assert (judged.level, judged.subject) == ("refused", "model:gpt-oss:20b")
