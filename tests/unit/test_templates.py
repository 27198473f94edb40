from pathlib import Path
from typing import Any

import jinja2
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


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the templates that are compiled."""
    names: list[str] = []
    compile_ = jinja2.Environment.compile

    def noted(self: jinja2.Environment, source: str, name: str, *rest: Any) -> Any:
        names.append(name)
        return compile_(self, source, name, *rest)

    monkeypatch.setattr(jinja2.Environment, "compile", noted)
    return names


def test_a_template_is_compiled_once_for_all_runs(tmp_path: Path, compiling: list[str]) -> None:
    def run() -> str:
        return Templates((tmp_path,), tmp_path / "cache" / "templates").render("x.j2", v=1)

    (tmp_path / "x.j2").write_text("one {{ v }}")
    assert [run(), run()] == ["one 1", "one 1"]
    assert compiling == ["x.j2"]
    (tmp_path / "x.j2").write_text("two {{ v }}")
    assert [run(), run()] == ["two 1", "two 1"]
    assert compiling == ["x.j2"] * 2


@pytest.mark.parametrize("spoilt", [b"", b"j2", None])
def test_a_spoilt_cache_is_no_cache(tmp_path: Path, compiling: list[str], spoilt: bytes | None) -> None:
    (tmp_path / "x.j2").write_text("{{ v }}")
    folder = tmp_path / "cache"
    Templates((tmp_path,), folder).render("x.j2", v=1)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-9] if spoilt is None else spoilt)
    assert Templates((tmp_path,), folder).render("x.j2", v=2) == "2"
    assert Templates((tmp_path,), folder).render("x.j2", v=3) == "3"
    assert len(compiling) == 2
    assert list(folder.iterdir()) == [file]


def test_another_users_cache_is_not_read(tmp_path: Path, compiling: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.j2").write_text("{{ v }}")
    Templates((tmp_path,), tmp_path / "cache").render("x.j2", v=1)
    monkeypatch.setattr("os.getuid", lambda: tmp_path.stat().st_uid + 1)
    assert Templates((tmp_path,), tmp_path / "cache").render("x.j2", v=2) == "2"
    assert len(compiling) == 2


def test_where_no_cache_can_be_written_all_goes_on(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{{ v }}")
    (tmp_path / "file").write_text("")
    assert Templates((tmp_path,), tmp_path / "file" / "cache").render("x.j2", v=1) == "1"


def test_a_file_that_both_kinds_of_templates_use_is_compiled_for_each(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("{{ v }} [[ v ]]\n")
    (tmp_path / "a.Modelfile.j2").write_text("[% include 'part.j2' %]")
    for _ in range(2):
        templates = Templates((tmp_path,), tmp_path / "cache")
        assert templates.render("part.j2", v=1) == "1 [[ v ]]\n"
        assert templates.render("a.Modelfile.j2", v=2) == "{{ v }} 2\n"
