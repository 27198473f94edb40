"""Judges of Open WebUI, and the lines of its streams: as 0.12.4 answered on a lab host, shortened."""

import json
from typing import Any

import pytest

from provision.resources.base import Section
from provision.resources.open_webui import StoredSettings
from provision.resources.open_webui.inside import visit
from provision.resources.open_webui.instance import Instance
from provision.values import Secret, canonical, sha256
from provision.verify.check import Check, judged
from provision.verify.checks import open_webui
from provision.verify.checks.open_webui import Backends, Chat, Closed, Ready, Settings, SignIn

INSTANCE = Instance("open-webui", "http://127.0.0.1:8080", "/etc/provision/open-webui", "it@office.lan")
GPU = "http://gpu01:11434"
SETTINGS = Settings(StoredSettings(INSTANCE, {"ui.enable_signup": False, "openai.api_keys": [Secret.of("sk-secret")]}))
HASH = sha256(canonical(["sk-secret"]))
CHAT = Chat(INSTANCE, ("tiny:latest",), ((GPU, ("tiny:latest",)),))
NONE = Chat(INSTANCE)
BACKENDS = Backends(INSTANCE, (GPU,))
SIGN_IN = SignIn(INSTANCE)


def stored(signup: Any = False, digest: str = HASH) -> str:
    """What the question of settings prints."""
    return json.dumps({"values": {"ui.enable_signup": signup}, "hashes": {"openai.api_keys": digest}})


def visited(seen: tuple[str, ...] = ("tiny:latest",), **more: Any) -> str:
    """What a user's visit prints."""
    chat = {"model": "tiny:latest", "whole": ["now find", ""], "stream": ["now", ""]} if seen else {}
    backends = {GPU: ["tiny:latest", "now", ""]} if seen else {}
    return json.dumps({"seen": seen, **chat, "backends": backends, **more})


PASSES = [
    (Ready("u"), '{"status":true}\n200\n{"status":true}\n200\n'),
    (Closed("u"), '{"detail":"no"}\n401\n{"detail":"no"}\n403\n'),
    (Closed("u", signup=True), '{"detail":"no"}\n401\n{"detail":"no"}\n400\n'),
    (BACKENDS, json.dumps({GPU: ["0.9.3", ""]})),
    (SIGN_IN, "in\n"),
    (SETTINGS, stored()),
    (CHAT, visited()),
    (CHAT, visited(seen=("Tiny", "other:latest"))),
    (NONE, visited(seen=())),
]

FAILS = [
    (Ready("u"), '{"status":true}\n200\n{"status":false}\n200\n', "/ready answers HTTP 200"),
    (Ready("u"), '{"status":true}\n200\n<html>\n200\n', "/ready answers HTTP 200 <html>"),
    (Ready("u"), '{"status":true}\n200\nstarting\n503\n', "/ready answers HTTP 503 starting"),
    (Ready("u"), "\n000\n\n000\n", "cannot be asked"),
    (Closed("u"), '{"data":[]}\n200\n{}\n403\n', "/api/models answers HTTP 200 to strangers"),
    (Closed("u"), '{"detail":"no"}\n401\n{"detail":"no"}\n400\n', "sign-up is open"),
    (Closed("u"), "\n401\n", "cannot be asked"),
    (
        BACKENDS,
        json.dumps({GPU: ["", "Name or service not known"]}),
        f"{GPU} does not answer from inside the container",
    ),
    (BACKENDS, "{}", "cannot be asked: not all backends were asked"),
    (SIGN_IN, "", "it@office.lan cannot sign in"),
    (SETTINGS, stored(signup=True), "ui.enable_signup is true, declared is false"),
    (SETTINGS, stored(digest="0"), 'openai.api_keys is "***", declared is ["***"]'),
    (SETTINGS, '{"values":{},"hashes":{}}', "ui.enable_signup is null, declared is false"),
    (SETTINGS, "", "cannot be asked"),
    (CHAT, visited(seen=()), "a normal user does not see tiny:latest"),
    (CHAT, visited(whole=["", ""]), "tiny:latest, not streamed: the answer is empty"),
    (CHAT, visited(whole=["", "HTTP 500"]), "tiny:latest, not streamed: HTTP 500"),
    (CHAT, visited(stream=[" ", ""]), "tiny:latest, streamed: the answer is empty"),
    (CHAT, visited(stream=["now", "it ended without [DONE]"]), "tiny:latest, streamed: it ended without [DONE]"),
    (CHAT, visited(backends={GPU: ["tiny:latest", "", "HTTP 500"]}), f"tiny:latest through {GPU}: HTTP 500"),
    (CHAT, visited(backends={GPU: ["tiny:latest", " ", ""]}), f"tiny:latest through {GPU}: the answer is empty"),
    (CHAT, "", "cannot be asked"),
    (NONE, "", "cannot be asked"),
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


@pytest.mark.parametrize("check", [SIGN_IN, BACKENDS, SETTINGS, CHAT])
def test_what_the_container_complains_of_is_told(check: Check) -> None:
    verdict = judged(check, Section(1, b"", b"Traceback\n/api/v1/users/all: HTTP 401: not you\n"))
    assert verdict.status == "failed"
    assert "/api/v1/users/all: HTTP 401: not you" in verdict.message


@pytest.mark.parametrize("check", [SETTINGS, CHAT])
def test_without_a_token_a_check_is_blocked_by_the_sign_in(check: Check) -> None:
    verdict = judged(check, Section(0, b"no-token\n"))
    assert (verdict.status, verdict.message) == ("blocked", "blocked by webui sign-in")


def test_a_backend_of_the_host_itself_needs_its_server() -> None:
    assert Backends(INSTANCE, ("http://127.0.0.1:11434",), local=True).needs == ("containers", "ollama version")
    assert BACKENDS.needs == ("containers",)


def test_no_secret_travels_in_a_question() -> None:
    assert "sk-secret" not in SETTINGS.question() + repr(SETTINGS)


def test_the_program_for_the_container_imports_nothing_of_ours() -> None:
    text = open_webui.program()
    assert "import provision" not in text and "from provision" not in text
    assert text.count('if __name__ == "__main__":') == 1
    names: dict[str, Any] = {"__name__": "inside"}
    exec(text, names)
    assert {"sign_in", "call", "digest", "chat", "backends"} <= names.keys()


PIECE = 'data: {"choices": [{"delta": {"content": "now"}}]}'


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([PIECE, "", PIECE, ": ping", "data: [DONE]", ""], ["nownow", ""]),
        (['data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}', "data: [DONE]"], ["hm", ""]),
        (['data: {"choices": []}', "data: [DONE]"], ["", ""]),
        ([PIECE], ["now", "it ended without [DONE]"]),
        ([], ["", "it ended without [DONE]"]),
        ([PIECE, "data: [DONE]", PIECE], ["now", f"a line after its end: {PIECE}"]),
        (["<html>"], ["", "not an event: <html>"]),
        (["data: {"], ["", "not an event: data: {"]),
        (["data: 3"], ["", "not an event: data: 3"]),
        (['data: {"error": {"detail": "no model"}}'], ["", 'an error in the stream: {"detail": "no model"}']),
    ],
)
def test_every_line_of_a_stream_is_looked_at(lines: list[str], found: list[str]) -> None:
    assert visit.events(iter(lines)) == found
