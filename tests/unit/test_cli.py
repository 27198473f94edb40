import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from provision import cli
from provision.cli import VERBS, run
from provision.errors import HostError, InputError, Interrupted, Mistake, Unreachable
from provision.values import Secret
from tests.docs.commands import words_of


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
        (raising(click.Abort()), 130),
        (raising(BrokenPipeError()), 0),
    ],
)
def test_exit_codes(
    command: Callable[[], int | None], code: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "program", click.Command("go", callback=command))
    with capfd.disabled():
        kept = os.dup(1)
    try:
        assert run([]) == code
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bogus"], "provision: No such option '--bogus'"),
        (["nonsense"], "provision: No such command 'nonsense'; known: apply, check, facts"),
        (["aply"], "; did you mean 'apply'? (see `provision --help`)"),
        (["twin", "upp"], "Did you mean 'up'? (see `provision twin --help`)"),
        (["plan", "--skip-preflite"], "'--skip-preflight'"),
        (["plan", "a", "b"], "provision plan: Got unexpected extra argument (b) (see `provision plan --help`)"),
        (["plan", "--roles"], "'--roles' requires an argument"),
        (["apply", "--forks", "x"], "'--forks': 'x' is not a valid number of hosts"),
        (["apply", "--max-fail", "0"], "'--max-fail': 0 is not in the range x>=1"),
        (["trust"], "provision trust: Missing argument 'HOSTS...' (see `provision trust --help`)"),
    ],
)
def test_a_wrong_command_line_is_3_and_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 3
    said = capsys.readouterr()
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("words", [[], ["twin"]])
def test_without_a_verb_the_help_is_shown_and_it_is_3(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 3
    assert "Commands:" in capsys.readouterr().err


ALL = [*([verb] for verb in VERBS), *([verb, word] for verb in VERBS for word in words_of(verb))]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], *([*words, "-h"] for words in ALL)])
def test_help_is_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out


def test_every_command_is_listed_in_order_with_a_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    assert re.findall(r"^  ([a-z]+)  +[A-Z]", capsys.readouterr().out, re.MULTILINE) == list(VERBS)
    run(["twin", "--help"])
    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", capsys.readouterr().out, re.MULTILINE)
    assert listed == ["up", "test", "down", "list", "ssh"]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_s_function_takes_what_its_options_give(words: list[str]) -> None:
    command: click.Command = cli.program
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    assert command.callback is not None
    assert set(inspect.signature(command.callback).parameters) == {param.name for param in command.params}


def test_every_mistake_has_its_line_and_no_secret_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    secret = Secret.of("open-sesame-1001").reveal()
    cli.complain(InputError([Mistake("b.yml", 2, 1, "second"), Mistake("a.yml", 1, 1, f"first {secret}")]))
    assert capsys.readouterr().err == "a.yml:1:1: first ***\nb.yml:2:1: second\n"


def imported(*words: str) -> set[str]:
    """The modules that are there when `provision WORDS` has said its words."""
    code = (
        f"import sys, runpy; sys.argv = ['provision', *{words!r}]\n"
        "try: runpy.run_module('provision', run_name='__main__')\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(ended.stderr.split())


HEAVY = {"paramiko", "docker", "pydantic", "jinja2", "yaml", "rich", "provision.inventory.reader"}


def test_help_imports_all_verbs_and_nothing_heavy() -> None:
    modules = imported("--help")
    assert {f"provision.commands.{verb}" for verb in VERBS} <= modules
    assert not HEAVY & modules


def test_a_verb_imports_its_own_module_and_no_other_verb_s() -> None:
    modules = imported("twin", "--help")
    assert {name for name in modules if name.startswith("provision.commands.")} == {
        "provision.commands.options",
        "provision.commands.twin",
    }
    assert not HEAVY & modules


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
