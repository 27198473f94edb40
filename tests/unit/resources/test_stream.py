"""The script that judges NDJSON lines, in real shells, with a real curl and a server that says these lines."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from provision.resources.base import Pending
from provision.resources.endpoint import Endpoint
from provision.resources.stream import Stream
from tests.unit.resources.here import Here, StepFailed

OK = '{"status":"success"}'
MISSING = '{"error":"pull model manifest: file does not exist"}'
SHELLS = [("dash",), ("busybox", "sh"), ("bash", "--posix")]


@dataclass
class Server:
    """Answers each request with the next of its answers: status and lines; the last one for ever."""

    answers: list[tuple[int, list[str]]]
    asked: list[bytes] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[str]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                status, lines = outer.answers[min(len(outer.asked), len(outer.answers)) - 1]
                self.send_response(status)
                self.end_headers()
                for line in lines:
                    self.wfile.write(line.encode() + b"\n")

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def run(request: pytest.FixtureRequest) -> Run:
    def script(server: Server, success: str = '{"status":"success"', attempts: int = 3) -> tuple[int, list[str]]:
        with server.running() as url:
            stream = Stream("m", url, success=success, body={"model": "it's"}, attempts=attempts, pause=0)
            ended = subprocess.run(
                [*request.param, "-c", stream.script()], capture_output=True, text=True, timeout=60, check=False
            )
        assert ended.stderr == ""
        return ended.returncode, ended.stdout.splitlines()

    return script


def test_success_is_the_last_line_and_not_the_http_status(run: Run) -> None:
    server = Server([(200, ['{"status":"pulling manifest"}', OK])])
    assert run(server) == (0, ['{"status":"pulling manifest"}', OK])
    assert server.asked == [b'{"model": "it\'s"}']


@pytest.mark.parametrize("status", [200, 404])
def test_a_hopeless_error_ends_it_at_once(run: Run, status: int) -> None:
    server = Server([(status, [MISSING])])
    assert run(server) == (1, [MISSING])
    assert len(server.asked) == 1


def test_another_error_is_tried_again_and_the_last_one_is_told(run: Run) -> None:
    error = '{"error":"max retries exceeded: EOF"}'
    server = Server([(200, ['{"status":"pulling manifest"}', error])])
    rc, lines = run(server)
    assert rc == 1
    assert lines[1] == f"again: attempt 2 of 3 in 0 s: {error}"
    assert lines[-1] == error
    assert len(server.asked) == 3


def test_the_second_attempt_may_succeed(run: Run) -> None:
    rc, lines = run(Server([(500, ['{"error":"TLS handshake timeout"}']), (200, [OK])]))
    assert (rc, lines[-1]) == (0, OK)


def test_an_answer_that_ends_early_is_a_failure(run: Run) -> None:
    rc, lines = run(Server([(200, ['{"status":"pulling manifest"}'])]), attempts=1)
    assert (rc, lines[-1]) == (1, '{"error":"the answer ended before the work was done"}')


def test_a_success_that_an_error_follows_is_none(run: Run) -> None:
    rc, lines = run(Server([(200, [OK, MISSING])]), attempts=1)
    assert (rc, lines[-1]) == (1, MISSING)


def test_a_server_that_is_not_there_is_told_in_curl_s_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        script = Stream("m", url, attempts=1).script()
        ended = subprocess.run(["dash", "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert '{"error":"curl: (7) ' in ended.stdout


def test_progress_that_stands_still_is_silence(run: Run) -> None:
    still = '{"status":"pulling aa","digest":"sha256:aa","total":90000000,"completed":12345678}'
    other = still.replace("12345678", "12999999")
    later = still.replace("12345678", "13345678")
    assert run(Server([(200, [still, still, other, later, later, OK])])) == (0, [still, later, OK])


def test_docker_says_nothing_of_success(run: Run) -> None:
    layer = '{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"a"}'
    assert run(Server([(200, [layer])]), success="") == (0, [layer])


@pytest.mark.parametrize(
    "line",
    ['{"errorDetail":{"message":"x"},"error":"x"}', '{"message":"manifest unknown"}'],
    ids=["in stream", "plain"],
)
def test_docker_s_errors_are_errors_although_nothing_else_is_success(run: Run, line: str) -> None:
    rc, lines = run(Server([(200, [line])]), success="", attempts=1)
    assert (rc, lines[-1]) == (1, line)


def test_a_job_has_one_name_for_one_request() -> None:
    one, same, other = (Stream("m", "u", body={"model": name}).job("model") for name in ("a", "a", "b"))
    assert one.name == same.name != other.name


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    return Here(tmp_path, shell=request.param)


def test_an_endpoint_is_waited_for_on_the_host(here: Here) -> None:
    starting, ready = (503, ["starting"]), (200, ['{ "status": true,\n "db": {"name": "a b"} }'])
    server = Server([starting, starting, ready])
    with server.running() as url:
        wanted = Endpoint(url, expect={"status": True, "db": {"name": "a b"}}, timeout=30)
        change = here.apply(wanted)
        assert change is not None
        assert change.why == "answers HTTP 503 starting"
        assert here.plan(wanted) is None


def test_the_last_answer_is_told_when_time_is_up(here: Here) -> None:
    with (
        Server([(200, ['{"version":"1"}'])]).running() as url,
        pytest.raises(StepFailed, match=r'no such answer within 0 s; the last one was: \{"version":"1"\}'),
    ):
        here.apply(Endpoint(url, expect={"version": "2"}, timeout=0))


def test_nothing_listening_is_an_answer_too(here: Here) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = Endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        change = wanted.plan(wanted.observe(here.sh(wanted.probe())), Pending())
    assert change is not None
    assert "curl: (7)" in change.why
