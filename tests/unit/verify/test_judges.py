"""Every check judges recorded answers: one that passes, and those that must not."""

import json
from typing import Any

import pytest

from provision.resources.base import Section
from provision.resources.container import Container
from provision.resources.file import Directory, File
from provision.resources.model_store import Server
from provision.resources.service import Service
from provision.values import Secret
from provision.verify.check import Check, judged
from provision.verify.checks import open_webui, reach
from provision.verify.checks.docker import Containers, DockerDaemon
from provision.verify.checks.ollama import Generation, Models, NoCloud, OneOllama, Version
from provision.verify.checks.system import Files, Packages, Secrets, Services

SERVER = Server()
PACKAGES = Packages(("curl", "zstd"))
FILES = Files((File("/etc/a", "x", mode="0640"), Directory("/srv/b")))
SERVICES = Services((Service("ollama", spec="abc"),))
CONTAINERS = Containers((Container("open-webui", "image"),))
DOCKER = DockerDaemon({"log-driver": "json-file", "live-restore": True})
GENERATION = Generation("tiny", SERVER)
ON_GPU = Generation("tiny", SERVER, gpu=True)
FAST = Generation("tiny", SERVER, floor=100)
CHAT = open_webui.Chat("http://127.0.0.1:8080", "it@office.lan", Secret.of("not a secret"), ("tiny:latest",))
SECRETS = Secrets(("/etc/key",), ("correct-horse",))

UNIT = 'unit=ollama.service\nActiveState={}\nUnitFileState={}\nMainPID=7\nEnvironment=PROVISION_SPEC={} "A=b c"\n'
PROCESS = "file={}\nprocess=PROVISION_SPEC={}\nprocess=A={}\n"
GOOD_UNIT = UNIT.format("active", "enabled", "abc")
LINE: dict[str, Any] = {"model": "tiny", "response": "a", "done": False}
LAST = {**LINE, "done": True, "eval_count": 8, "eval_duration": 200_000_000, "load_duration": 500_000_000}
LOADED = {"name": "tiny:latest", "size": 1000, "size_vram": 0}


def generated(whole: object = LAST, stream: tuple[object, ...] = (LINE, LAST), **loaded: object) -> str:
    """What the question of a generation prints."""
    lines = "\n".join(json.dumps(line) for line in stream)
    return f"{json.dumps(whole)}\n\n{lines}\n\n\n{json.dumps({'models': [{**LOADED, **loaded}]})}"


def chatted(ids: tuple[str, ...] = ("tiny:latest",), content: str = "hello", status: int = 200) -> str:
    """What the question of a chat prints."""
    models = json.dumps({"data": [{"id": name} for name in ids]})
    chat = json.dumps({"choices": [{"message": {"content": content}}]})
    return f"\n200\n{models}\n200\n{chat}\n{status}\n"


def tags(*names: str, **more: str) -> str:
    """The answer of /api/tags."""
    return json.dumps({"models": [{"name": name, **more} for name in names]})


PASSES = [
    (PACKAGES, "curl install ok installed\n\nzstd hold ok installed\n\n"),
    (FILES, "0 f 640 root root\n1 d 755 root root\n"),
    (SERVICES, GOOD_UNIT + PROCESS.format("abc", "abc", "b c")),
    (SECRETS, "mode 600 /etc/key\nend\n"),
    (Version("0.9.3", SERVER), '{"version":"0.9.3"}'),
    (OneOllama(), "/usr/local/bin/ollama\n"),
    (Models(("tiny", "Other:7b"), SERVER), tags("tiny:latest", "other:7b")),
    (NoCloud(SERVER), "cloud=1\n" + tags("tiny:latest")),
    (GENERATION, generated()),
    (ON_GPU, generated(size_vram=1000)),
    (Generation("tiny", SERVER, floor=39), generated()),
    (DOCKER, '{"LoggingDriver":"json-file","LiveRestoreEnabled":true,"ServerVersion":"26"}'),
    (CONTAINERS, "/open-webui running unless-stopped healthy\n"),
    (CONTAINERS, "/open-webui running unless-stopped \n"),
    (open_webui.Ready("u"), '{"status":true}\n200\n{"status":true}\n200\n'),
    (open_webui.Closed("u"), '{"detail":"no"}\n401\n{"detail":"no"}\n403\n'),
    (open_webui.Closed("u", signup=True), '{"detail":"no"}\n401\n{"detail":"no"}\n400\n'),
    (CHAT, chatted()),
]

FAILS = [
    (PACKAGES, "curl install ok installed\n\nzstd \n", "not installed: zstd"),
    (PACKAGES, "curl install ok installed\n\nzstd deinstall ok config-files\n", "not installed: zstd"),
    (FILES, "0 f 644 root root\n1 d 755 root root\n", "/etc/a has mode 0644, not 0640"),
    (FILES, "0 f 640 root root\n1 d 755 ollama root\n", "/srv/b belongs to ollama:root, not root:root"),
    (FILES, "0 \n1 d 755 root root\n", "/etc/a is not there"),
    (FILES, "0 l 777 root root\n1 d 755 root root\n", "/etc/a is no file"),
    (FILES, "", "cannot be asked"),
    (SERVICES, UNIT.format("inactive", "enabled", "abc"), "ollama.service is inactive"),
    (SERVICES, UNIT.format("active", "disabled", "abc") + PROCESS.format("abc", "abc", "b c"), "disabled at boot"),
    (SERVICES, GOOD_UNIT + PROCESS.format("abc", "abc", "old"), "runs with another A than its unit says"),
    (SERVICES, GOOD_UNIT + PROCESS.format("new", "abc", "b c"), "runs with another PROVISION_SPEC than its unit says"),
    (SERVICES, UNIT.format("active", "enabled", "x") + PROCESS.format("x", "x", "b c"), "older settings than declared"),
    (SERVICES, "", "cannot be asked"),
    (SECRETS, "mode 644 /etc/key\nend\n", "/etc/key has mode 0644, not 0600"),
    (SECRETS, "mode - /etc/key\nend\n", "/etc/key is not there"),
    (SECRETS, "mode 600 /etc/key\nfound docker inspect /chat\nend\n", "a secret stands in docker inspect /chat"),
    (SECRETS, "mode 600 /etc/key\n", "cannot be asked"),
    (Version("0.9.3", SERVER), '{"version":"0.9.4"}', "0.9.4 answers on port 11434, 0.9.3 is declared"),
    (Version("0.9.3", SERVER), "", "cannot be asked"),
    (OneOllama(), "/usr/bin/ollama\n/usr/local/bin/ollama\n", "2 in PATH: /usr/bin/ollama, /usr/local/bin/ollama"),
    (OneOllama(), "", "none is in PATH"),
    (Models(("tiny", "other:7b"), SERVER), tags("tiny:latest"), "missing: other:7b"),
    (Models(("tiny",), SERVER), '{"models":null}', "cannot be asked"),
    (NoCloud(SERVER), "cloud=\n" + tags("tiny:latest"), "without OLLAMA_NO_CLOUD=1"),
    (NoCloud(SERVER), "cloud=1\n" + tags("big:120b-cloud"), "big:120b-cloud runs at ollama.com"),
    (NoCloud(SERVER), "cloud=1\n" + tags("big:120b", remote_host="https://ollama.com"), "runs at ollama.com"),
    (GENERATION, generated(whole={"error": "model not found"}), "not streamed: error: model not found"),
    (GENERATION, generated(whole={**LAST, "done": False}), "not streamed: it never said done"),
    (GENERATION, generated(whole={**LAST, "eval_count": 0}), "not streamed: not one token was generated"),
    (GENERATION, generated(stream=(LINE, LINE)), "streamed: it never said done"),
    (GENERATION, generated(stream=(LAST, LAST)), "streamed: it was done before its last line"),
    (GENERATION, generated(stream=(LINE, {"error": "out of memory"}, LAST)), "streamed: error: out of memory"),
    (GENERATION, generated(stream=("no object", LAST)), "cannot be asked"),
    (GENERATION, generated(name="other:latest"), "not in memory after it answered"),
    (GENERATION, generated().replace("}", "", 1), "cannot be asked"),
    (GENERATION, "", "cannot be asked"),
    (ON_GPU, generated(size_vram=400), "600 B of 1.0 kB are on the CPU"),
    (FAST, generated(), "40.0 tokens/s, at least 100 are demanded"),
    (DOCKER, '{"LoggingDriver":"journald","LiveRestoreEnabled":true}', 'log-driver is "journald", not "json-file"'),
    (DOCKER, '{"LoggingDriver":"json-file","LiveRestoreEnabled":false}', "live-restore is false, not true"),
    (DOCKER, '{"ServerErrors":["no daemon"]}', "the engine does not answer: no daemon"),
    (CONTAINERS, "/open-webui missing\n", "open-webui is missing"),
    (CONTAINERS, "/open-webui exited unless-stopped \n", "open-webui is exited"),
    (CONTAINERS, "/open-webui running no healthy\n", "has the restart policy no, not unless-stopped"),
    (CONTAINERS, "/open-webui running unless-stopped unhealthy\n", "open-webui is unhealthy"),
    (open_webui.Ready("u"), '{"status":true}\n200\n{"status":false}\n200\n', "/ready answers HTTP 200"),
    (open_webui.Ready("u"), '{"status":true}\n200\nstarting\n503\n', "/ready answers HTTP 503 starting"),
    (open_webui.Ready("u"), "\n000\n\n000\n", "cannot be asked"),
    (open_webui.Closed("u"), '{"data":[]}\n200\n{}\n403\n', "/api/models answers HTTP 200 to strangers"),
    (open_webui.Closed("u"), '{"detail":"no"}\n401\n{"detail":"no"}\n400\n', "sign-up is open"),
    (CHAT, '{"detail":"wrong"}\n400\n', "it@office.lan cannot sign in: HTTP 400"),
    (CHAT, chatted(ids=("other:latest",)), "models not seen: tiny:latest"),
    (CHAT, chatted(content=""), "the chat's answer is empty"),
    (CHAT, chatted(status=500), "the chat answers HTTP 500"),
]


@pytest.mark.parametrize(("check", "out"), PASSES)
def test_what_is_as_declared_passes(check: Check, out: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("check", "out", "cause"), FAILS)
def test_what_is_wrong_fails_with_its_cause(check: Check, out: str, cause: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "failed"
    assert cause in verdict.message


def test_a_complaint_of_the_host_says_why_a_check_cannot_be_asked() -> None:
    verdict = judged(Version("0.9.3", SERVER), Section(7, b"", b"curl: (7) Failed to connect\n"))
    assert verdict.message == "cannot be asked: curl: (7) Failed to connect"


def test_a_generation_reports_speed_and_time_to_load() -> None:
    verdict = judged(GENERATION, Section(0, generated().encode()))
    assert verdict.figures == {"tokens_per_second": 40.0, "load_seconds": 0.5}


def test_an_embedding_model_is_skipped_visibly() -> None:
    out = generated(whole={"error": '"nomic" does not support generate'})
    verdict = judged(GENERATION, Section(0, out.encode()))
    assert (verdict.status, verdict.message) == ("skipped", "it makes embeddings only")


@pytest.mark.parametrize(
    ("address", "status", "cause"),
    [("", "failed", "no address"), ("127.0.0.1", "skipped", "this machine itself")],
)
def test_a_port_that_cannot_be_tried_is_no_silent_pass(address: str, status: str, cause: str) -> None:
    verdict = reach.closed(address, 11434)
    assert verdict.status == status
    assert cause in verdict.message


@pytest.mark.parametrize(("answers", "status"), [(True, "failed"), (False, "passed")])
def test_a_port_on_loopback_must_not_answer_others(answers: bool, status: str) -> None:
    assert reach.judge(reach.Answers("10.0.0.1", 11434, answers)).status == status


def test_secrets_travel_in_no_question() -> None:
    for check, secret in ((SECRETS, "correct-horse"), (CHAT, "not a secret")):
        assert secret not in check.question()
        assert any(secret in value for value in check.secrets.values())
        assert secret not in repr(check)
