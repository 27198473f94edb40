import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from provision import cli
from provision.cli import VERBS, guarded, run
from provision.errors import HostError, InputError, Interrupted, Mistake, Unreachable
from provision.values import Secret
from tests.docs.commands import verbs


def raising(error: BaseException) -> Callable[[], int | None]:
    def command() -> int | None:
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (lambda: None, 0),
        (lambda: 0, 0),
        (lambda: 2, 2),
        (lambda: 1, 1),
        (raising(InputError("x")), 3),
        (raising(HostError("h", "x")), 1),
        (raising(Unreachable("h", "x")), 4),
        (raising(Interrupted("x")), 130),
        (raising(KeyboardInterrupt()), 130),
        (raising(typer.Abort()), 130),
        (raising(BrokenPipeError()), 0),
    ],
)
def test_exit_codes(
    command: Callable[[], int | None], code: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)
    app.command("go")(guarded(command))
    monkeypatch.setattr(cli, "application", lambda _verbs: app)
    with capfd.disabled():
        kept = os.dup(1)
    try:
        assert run(["go"]) == code
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize(
    "words", [["--bogus"], ["nonsense"], ["plan", "--bogus"], ["plan", "a", "b"], ["apply", "--forks", "x"]]
)
def test_a_wrong_command_line_is_3_and_not_typers_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 3
    assert "rror" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], *([verb, "--help"] for verb in verbs())])
def test_help_is_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out


def test_every_command_is_listed_in_order_with_a_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", capsys.readouterr().out, re.MULTILINE)
    assert listed == verbs()
    assert [verb for verb in VERBS if verb in listed] == listed


def test_every_mistake_has_its_line_and_no_secret_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    secret = Secret.of("open-sesame-1001").reveal()
    cli.complain(InputError([Mistake("b.yml", 2, 1, "second"), Mistake("a.yml", 1, 1, f"first {secret}")]))
    assert capsys.readouterr().err == "a.yml:1:1: first ***\nb.yml:2:1: second\n"


@pytest.mark.parametrize(
    "module", ["paramiko", "docker", "pydantic", "jinja2", "yaml", "rich", "provision.inventory.reader"]
)
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        "import sys, runpy; sys.argv = ['provision', '--help']\n"
        "try: runpy.run_module('provision', run_name='__main__')\n"
        f"except SystemExit: assert {module!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_missing_inventory_is_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "provision", "plan"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 1
