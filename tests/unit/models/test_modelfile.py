"""Modelfiles are read as Ollama reads them (parser/parser.go), and mistakes have their place."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provision.errors import InputError
from provision.models import parameters
from provision.models.modelfile import Modelfile, instructions, parse, render

HEAD = "FROM tiny\n"
TRIPLE = '"""'


def only(text: str) -> tuple[str, str, str]:
    (found,) = instructions(text)
    return found.keyword, found.name, found.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM tiny", ("FROM", "", "tiny")),
        ("from   tiny  ", ("FROM", "", "tiny")),
        ("\t FROM\ttiny", ("FROM", "", "tiny")),
        ("\ufeffFROM tiny", ("FROM", "", "tiny")),
        ("# note\n\n  # another\nFROM tiny\n", ("FROM", "", "tiny")),
        ("SYSTEM a # b", ("SYSTEM", "", "a # b")),
        ('SYSTEM "a b"', ("SYSTEM", "", "a b")),
        ('SYSTEM "a\nb"', ("SYSTEM", "", "a\nb")),
        ('SYSTEM "say "hi" now"', ("SYSTEM", "", 'say "hi" now')),
        ('SYSTEM ""', ("SYSTEM", "", "")),
        ("SYSTEM 'a'", ("SYSTEM", "", "'a'")),
        (f"SYSTEM {TRIPLE}\na\n\n# kept\nb\n{TRIPLE}\n", ("SYSTEM", "", "\na\n\n# kept\nb\n")),
        (f"SYSTEM {TRIPLE}a{TRIPLE}  ", ("SYSTEM", "", "a")),
        # one quote at the end of the first line does not end a triple-quoted value
        (f'SYSTEM {TRIPLE}"a"\nb{TRIPLE}', ("SYSTEM", "", '"a"\nb')),
        # the end of the value is looked for at the ends of lines only
        ('SYSTEM "You are" helpful\nand brief"', ("SYSTEM", "", 'You are" helpful\nand brief')),
        ("SYSTEM a\\nb", ("SYSTEM", "", "a\\nb")),
        ("PARAMETER temperature 0.7", ("PARAMETER", "temperature", "0.7")),
        ('PARAMETER stop "<|end|>"', ("PARAMETER", "stop", "<|end|>")),
        ("MESSAGE user hello there", ("MESSAGE", "user", "hello there")),
        (f"MESSAGE assistant {TRIPLE}a\nb{TRIPLE}", ("MESSAGE", "assistant", "a\nb")),
        ("TEMPLATE {{ .Prompt }}", ("TEMPLATE", "", "{{ .Prompt }}")),
        ("FROM tiny\r\n", ("FROM", "", "tiny")),
    ],
)
def test_an_instruction_is_read(text: str, expected: tuple[str, str, str]) -> None:
    assert only(text) == expected


def test_carriage_returns_do_not_get_into_values() -> None:
    assert only(f"SYSTEM {TRIPLE}a\r\nb{TRIPLE}\r\n") == ("SYSTEM", "", "a\nb")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("FRM tiny", "1:1", "'FRM' is not an instruction: one of FROM"),
        ("\nFROM tiny\n  HELLO world", "3:3", "'HELLO' is not an instruction"),
        ("FROM", "1:5", "FROM needs a value on its line"),
        ("FROM tiny\nPARAMETER num_ctx", "2:18", "PARAMETER num_ctx needs a value on its line"),
        (f"FROM tiny\nSYSTEM {TRIPLE}a\nb\n", "2:8", f"a value that begins with {TRIPLE} must end with {TRIPLE}"),
        ('FROM tiny\nSYSTEM "a" b\n', "2:8", 'a value that begins with " must end with "'),
        ("FROM tiny\nMESSAGE User hi", "2:9", "the role of a MESSAGE is system, user, assistant, not 'User'"),
        ("SYSTEM a", "1:1", "no FROM line"),
        ("FROM tiny\nPARAMETER num_ctxx 5", "2:11", "unknown parameter 'num_ctxx', did you mean 'num_ctx'?"),
        ("FROM tiny\nPARAMETER max_tokens 5", "2:11", "unknown parameter 'max_tokens'"),
        ("FROM tiny\nPARAMETER mirostat 1", "2:11", "parameter 'mirostat' has no effect any more"),
        ("FROM tiny\nPARAMETER num_ctx 1.5", "2:11", "parameter 'num_ctx' takes a whole number, not '1.5'"),
        ("FROM tiny\nPARAMETER temperature hot", "2:11", "takes a number, not 'hot'"),
        ("FROM tiny\nPARAMETER temperature nan", "2:11", "is out of range"),
        ("FROM tiny\nPARAMETER num_ctx 99999999999", "2:11", "is out of range"),
        ("FROM tiny\nPARAMETER use_mmap yes", "2:11", "takes true or false, not 'yes'"),
        ("FROM tiny\nPARAMETER temperature 0.7 # low", "2:11", "a # after the value does not start a comment"),
        ("FROM gpt-oss:20b\n\nTEMPLATE x", "3:1", "a model on gpt-oss:20b keeps its own template"),
        ("TEMPLATE x\nFROM registry.lan:5000/library/gpt-oss", "1:1", "keeps its own template"),
    ],
)
def test_a_mistake_has_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(text, "m.Modelfile")
    assert str(refused.value).startswith(f"m.Modelfile:{place}: ")
    assert message in str(refused.value)


def test_all_mistakes_of_a_readable_file_are_told() -> None:
    with pytest.raises(InputError) as refused:
        parse("FROM tiny\nPARAMETER a 1\nPARAMETER num_ctx x\n")
    assert [mistake.line for mistake in refused.value.mistakes] == [2, 3]


def test_the_last_one_counts_and_what_may_repeat_adds_up() -> None:
    text = "FROM a\nFROM b\nSYSTEM x\nSYSTEM y\nPARAMETER top_k 1\nPARAMETER top_k 2\nPARAMETER stop a\n"
    text += "PARAMETER stop b\nLICENSE l1\nLICENSE l2\nMESSAGE user q\nMESSAGE assistant a\n"
    found = parse(text)
    assert found.sources == ("a", "b")
    assert found.system == "y"
    assert found.parameters == {"top_k": 2, "stop": ["a", "b"]}
    assert found.licenses == ("l1", "l2")
    assert found.messages == (("user", "q"), ("assistant", "a"))


def test_the_shipped_example_is_right() -> None:
    text = (Path(__file__).parents[3] / "templates/models/assistant.Modelfile.j2").read_text()
    found = parse(text.replace('[[ base or "gpt-oss:20b" ]]', "gpt-oss:20b"))
    assert found.sources == ("gpt-oss:20b",)
    assert found.template is None
    assert found.parameters["num_ctx"] == 16384


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40)
LINES = st.lists(TEXT | st.sampled_from(['"', TRIPLE, 'a"', " ", "# no comment"]), min_size=1, max_size=4).map(
    "\n".join
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(parameters.INT, st.integers(-(2**31) + 1, 2**31 - 1)),
    **dict.fromkeys(parameters.FLOAT, st.floats(-1e6, 1e6, allow_nan=False)),
    **dict.fromkeys(parameters.BOOL, st.booleans()),
}
MODELS = st.builds(
    Modelfile,
    sources=st.tuples(st.from_regex(r"[a-z][a-z0-9]{0,8}(:[a-z0-9]{1,5})?", fullmatch=True)),
    parameters=st.fixed_dictionaries({}, optional=VALUES),
    system=st.none() | LINES,
    template=st.none() | LINES,
    licenses=st.lists(LINES, max_size=2).map(tuple),
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), LINES), max_size=2).map(tuple),
)


@given(MODELS)
def test_what_is_written_is_read_back(model: Modelfile) -> None:
    try:
        text = render(model)
    except ValueError:
        assume(False)
    assert parse(text) == model


PIECES = st.sampled_from(["FROM ", "SYSTEM ", '"', TRIPLE, "\n", "a", "#", " ", "MESSAGE user "])


@given(st.text(max_size=200) | st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_either_read_or_refused_with_a_place(text: str) -> None:
    try:
        parse(text)
    except InputError as error:
        assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in error.mistakes)
