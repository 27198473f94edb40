"""Addresses that are asked together: the same answers as one by one, by one curl."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from provision.engine.script import probes
from provision.resources.base import Resource, Section
from provision.resources.endpoint import Endpoint
from provision.resources.model_prune import ModelPrune
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
ANSWERS = {
    "/api/tags": (200, b'{"models":[{"name":"tiny:latest",\n"digest":"aa","size":1}]}'),
    "/api/version": (200, b'{"version":"0.9.3"}\n'),
    "/empty": (204, b""),
    "/ready": (503, b"two\n\nlines"),
    "/a?b=[c]&d='{e}'": (200, b"\x00\xff"),
}


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS.get(self.path, (404, b"no such page"))
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A curl that notes how often it is started, and a disk that nobody else fills."""
    folder = tmp_path / "tools"
    folder.mkdir()
    texts = {"curl": f'echo >>{tmp_path}/said\nexec {shutil.which("curl")} "$@"', "df": "echo /dev/sda1 9 4 5 50% /"}
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def ask(wanted: dict[str, Resource], shell: list[str], tools: Path) -> dict[str, Section]:
    script = probes({name: one.probe() for name, one in wanted.items()})
    environ = {"PATH": f"{tools}:{os.environ['PATH']}"}
    return script.parse(
        subprocess.run([*shell, "-c", script.text], env=environ, capture_output=True, check=True).stdout
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_together_they_answer_as_they_do_alone(port: int, tools: Path, tmp_path: Path, shell: list[str]) -> None:
    store = tmp_path / "it's a store"
    server = Server(port, str(store))
    (store / "blobs").mkdir(parents=True)
    wanted: dict[str, Resource] = {path: Endpoint(f"http://127.0.0.1:{port}{path}") for path in (*ANSWERS, "/none")}
    wanted |= {
        "tiny": OllamaModel("tiny", server=server),
        "none": OllamaModel("127.0.0.1:1/none/none", insecure=True, server=server),
        "prune": ModelPrune((), server),
    }
    together = ask(wanted, shell, tools)
    # One more asks the registry of the model that is missing.
    assert len((tmp_path / "said").read_text().splitlines()) == 2
    assert together == {name: ask({name: one}, shell, tools)[name] for name, one in wanted.items()}
    found = {name: one.observe(together[name]) for name, one in wanted.items()}
    assert {path: (found[path].status, found[path].body.encode()) for path in ("/api/version", "/ready", "/empty")} == {
        "/api/version": (200, b'{"version":"0.9.3"}\n'),
        "/ready": ANSWERS["/ready"],
        "/empty": (204, b""),
    }
    assert found["/none"].summary == "HTTP 404 no such page"
    assert [list(found[name].tags) for name in ("tiny", "none", "prune")] == [
        ["registry.ollama.ai/library/tiny:latest"]
    ] * 3

    # One that does not answer is no other one's matter, and is waited for once.
    (tmp_path / "said").unlink()
    silent = Server(1, str(store))
    wanted |= {"silent": Endpoint("http://127.0.0.1:1/"), "one": OllamaModel("a", server=silent)}
    wanted |= {"two": OllamaModel("b", server=silent)}
    disturbed = ask(wanted, shell, tools)
    assert {name: disturbed[name] for name in together} == together
    assert [wanted[name].observe(disturbed[name]).complaint.partition(":")[0] for name in ("silent", "one", "two")] == [
        "curl"
    ] * 3
    # All at once, each of the addresses (`/none` and `/api/ps` beside those above, and three of nobody), the registry.
    assert len((tmp_path / "said").read_text().splitlines()) == 1 + len(ANSWERS) + 2 + 3 + 1


def test_apart_in_one_script_they_do_not_take_each_others_answers(port: int, tools: Path) -> None:
    wanted = {url: Endpoint(url) for url in ("http://127.0.0.1:1/", "http://127.0.0.1:2/", f"http://127.0.0.1:{port}/")}
    script = probes({url: str(one.probe()) for url, one in wanted.items()})
    ran = subprocess.run(["sh", "-c", script.text], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    found = {url: wanted[url].observe(section) for url, section in script.parse(ran.stdout).items()}
    assert [one.status for one in found.values()] == [0, 0, 404]
    assert [f"port {number} " in one.complaint for number, one in enumerate(found.values(), 1)] == [True, True, False]
