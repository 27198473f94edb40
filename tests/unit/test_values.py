import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from provision.errors import InputError
from provision.values import Secret, canonical, human_bytes, parse_bytes, printable, quote, sha256


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("1k", 1000), ("1KiB", 1024), ("1.5GiB", 1_610_612_736), ("20 GB", 20 * 10**9), (7, 7)],
)
def test_sizes_are_read_in_bytes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "12 parsecs", "-1", "1e9"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (13_780_000_000, "13.8 GB"), (5 * 10**12, "5.0 TB")],
)
def test_sizes_are_shown_in_decimal_units(count: int, text: str) -> None:
    assert human_bytes(count) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_a_quoted_word_reaches_a_command_unchanged(word: str) -> None:
    out = subprocess.run(["sh", "-c", f"printf %s {quote(word)}"], capture_output=True, check=True).stdout
    assert out.decode() == word


@given(st.text())
def test_printable_text_cannot_move_the_cursor(text: str) -> None:
    assert not any(ord(c) < 32 and c not in "\t\n" for c in printable(text))


def test_printable_text_is_bounded() -> None:
    assert printable("x" * 5000, limit=10) == "x" * 10 + " …"


def test_equal_values_have_equal_canonical_text() -> None:
    assert canonical({"b": [1, 2], "a": None}) == canonical({"a": None, "b": [1, 2]}) == '{"a":null,"b":[1,2]}'


class Settings(BaseModel):
    password: Secret


def test_a_secret_is_read_from_the_environment_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_PASSWORD", "hunter2")
    settings = Settings.model_validate({"password": {"secret": "env:OFFICE_PASSWORD"}})
    assert settings.password.reveal() == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings.password} {settings.model_dump_json()}"


def test_a_secret_file_loses_only_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("two\nlines\n")
    assert Secret("file:password", tmp_path).reveal() == "two\nlines"


def test_a_secret_command_runs_once(tmp_path: Path) -> None:
    secret = Secret("cmd:echo ran >> log; echo word", tmp_path)
    assert (secret.reveal(), secret.reveal()) == ("word", "word")
    assert (tmp_path / "log").read_text() == "ran\n"


def test_a_failing_secret_command_names_itself_and_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="secret cmd:echo no >&2; exit 3: exit code 3: no"):
        Secret("cmd:echo no >&2; exit 3", tmp_path).reveal()


@pytest.mark.parametrize("source", ["env:NO_SUCH_VARIABLE", "file:no/such/file"])
def test_a_missing_secret_says_so(source: str, tmp_path: Path) -> None:
    assert Secret(source, tmp_path).missing()
    with pytest.raises(InputError, match=source.partition(":")[2]):
        Secret(source, tmp_path).reveal()


def test_a_commands_presence_is_not_tested_by_running_it(tmp_path: Path) -> None:
    assert Secret("cmd:touch ran", tmp_path).missing() is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", ["hunter2", {"secret": "hunter2"}, {"secret": "env:A", "more": 1}, 5])
def test_a_plain_value_is_not_a_secret(value: object) -> None:
    with pytest.raises(ValidationError, match="secret"):
        Settings.model_validate({"password": value})


def test_secrets_typed_at_a_prompt_differ_when_their_text_does() -> None:
    assert Secret.of("a") != Secret.of("b")
    assert Secret.of("a").reveal() == "a"
    assert sha256("a")[:12] not in str(Secret.of("a"))
