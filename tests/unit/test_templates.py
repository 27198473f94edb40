from pathlib import Path

import pytest

from provision.errors import InputError
from provision.templates import Templates


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    return Templates((tmp_path / "own", tmp_path / "built-in"))


def write(templates: Templates, name: str, text: str, folder: int = 0) -> None:
    path = templates.folders[folder] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_fleets_own_template_hides_the_built_in_one(templates: Templates) -> None:
    write(templates, "a/x.j2", "built in {{ v }}\n", folder=1)
    assert templates.render("a/x.j2", v=1) == "built in 1\n"
    write(templates, "b/x.j2", "own {% include 'a/x.j2' %}")
    assert templates.render("b/x.j2", v=2) == "own built in 2\n"


def test_a_modelfile_keeps_ollamas_own_braces(templates: Templates) -> None:
    write(templates, "m/a.Modelfile.j2", 'FROM [[ base ]]\n[% if x %]\nTEMPLATE "{{ .Prompt }}{% y %}"\n[% endif %]\n')
    text = templates.render("m/a.Modelfile.j2", base="tiny", x=True)
    assert text == 'FROM tiny\nTEMPLATE "{{ .Prompt }}{% y %}"\n'


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("one\n{{ missing }}\n", 2, "'missing' is undefined"),
        ("one\ntwo\n{% if %}\n", 3, "Expected an expression"),
        ("{{ v.a.b }}", 1, "has no attribute 'a'"),
        ("\n\n{{ 1 / 0 }}", 3, "division by zero"),
        ("{{ v.__class__ }}", 1, "unsafe"),
        ("{{ v + none }}", 1, "unsupported operand"),
        ("{{ v.append(3) }}", 1, "has no attribute 'append'"),
    ],
)
def test_a_mistake_has_its_file_and_line(templates: Templates, text: str, line: int, says: str) -> None:
    write(templates, "x.j2", text)
    with pytest.raises(InputError) as caught:
        templates.render("x.j2", v=1)
    (mistake,) = caught.value.mistakes
    assert (Path(mistake.file).name, mistake.line) == ("x.j2", line)
    assert says in mistake.message


def test_a_template_cannot_change_what_it_is_given(templates: Templates) -> None:
    write(templates, "x.j2", "{{ v.append(3) }}")
    with pytest.raises(InputError, match="is unsafe"):
        templates.render("x.j2", v=[])


def test_a_missing_template_names_where_was_looked(templates: Templates) -> None:
    with pytest.raises(InputError, match=r"there is no template 'nope.j2' in .*own.*built-in"):
        templates.render("nope.j2")


def test_words_are_quoted_for_sh(templates: Templates) -> None:
    assert templates.render_text("{{ v | quote }}", "x", v="it's") == """'it'"'"'s'"""
