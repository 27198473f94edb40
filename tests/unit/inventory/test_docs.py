"""docs/inventory.md says what is true."""

import re
from pathlib import Path

import pytest

from provision.errors import InputError
from provision.inventory import document, hostnames, load
from provision.inventory.connection import USED
from provision.inventory.reader import OWN
from provision.roles import RoleSchemas

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "inventory.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_examples_have_no_mistakes(tmp_path: Path, number: int) -> None:
    path = tmp_path / "office.yml"
    path.write_text(blocks("yaml")[number])
    fleet = load(path, RoleSchemas(path))
    assert fleet.hosts
    assert not fleet.warnings and not fleet.foreign


def test_the_second_example_merges_as_its_comment_says(tmp_path: Path) -> None:
    path = tmp_path / "office.yml"
    path.write_text(blocks("yaml")[1])
    settings = load(path, RoleSchemas(path)).hosts["old.lan"].settings["ollama"].model_dump()
    assert settings["environment"] == {"OLLAMA_KEEP_ALIVE": "30m"}
    assert settings["allow_networks"] == ["10.20.0.0/16"]


def test_the_python_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(blocks("python")[0], "docs/inventory.md", "exec"), {})
    assert "gpu01.office.lan gpu01.office.lan lan" in capsys.readouterr().out


def test_the_mistakes_are_those_that_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "office.yml"
    text = (ROOT / "templates" / "init" / "inventory.yml").read_text()
    text = text.replace("listen: lan", "lisen: lan").replace("[web]", "[wep]")
    path.write_text(text.replace("gpt-oss:20b:\n", "gpt-oss:20b: big\n", 1))
    with pytest.raises(InputError) as caught:
        load(path, RoleSchemas(path), need_secrets=False)
    said = "\n".join(str(mistake) for mistake in caught.value.mistakes).replace(str(path), "inventory/office.yml")
    assert said == blocks("text")[0].strip()


def test_every_variable_that_is_read_is_documented() -> None:
    for name in [names[0] for names in USED.values()] + sorted(OWN):
        if name != "ansible_become_user":
            assert f"`{name}`" in TEXT, name


def test_the_bounds() -> None:
    assert document.MAX_BYTES == 8 << 20
    assert f"{document.MAX_NODES:,} values" in TEXT
    assert f"{document.MAX_DEPTH} levels" in TEXT
    assert f"{hostnames.MAX_HOSTS:,} hosts" in TEXT
