"""Looking at many paths at once: the same answers as one by one, by two processes for all of them."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.engine.script import probes
from provision.resources.base import Section
from provision.resources.look import SHOWN, Look, seen

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
NAMES = ("plain", "two  spaces", "it's", 'a "quote"', "back\\slash", "-n", "new\nline", "$HOME", "%s", "umläut", "*")


def ask(looks: Mapping[str, str], shell: list[str], path: str = os.environ["PATH"]) -> dict[str, Section]:
    script = probes(looks)
    ran = subprocess.run([*shell, "-c", script.text], env={"PATH": path}, capture_output=True, check=True)
    return script.parse(ran.stdout)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with one of each kind."""
    for name in NAMES:
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(b"x" * (SHOWN + 1))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "to-folder").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_together_they_answer_as_they_do_alone(place: Path, shell: list[str]) -> None:
    known = hashlib.sha256(b"plain\n").hexdigest()
    there = (*(path.name for path in place.iterdir()), "missing", "folder/none")
    looks = {name: Look(f"{place}/{name}", content=True) for name in there}
    looks |= {f"{name} followed": Look(f"{place}/{name}", follow=True) for name in ("folder", "to-folder", "missing")}
    looks |= {"unread": Look(f"{place}/plain"), "known": Look(f"{place}/plain", content=True, known=known)}
    together = ask(looks, shell)
    assert together == {name: ask({name: str(look)}, shell)[name] for name, look in looks.items()}
    found = {name: seen(section) for name, section in together.items()}
    for name in NAMES:
        assert found[name].content == f"{name}\n".encode()
        assert found[name].sha256 == hashlib.sha256(f"{name}\n".encode()).hexdigest()
    assert found["large"].size == SHOWN + 1
    assert [found[name].content for name in ("large", "unread", "known")] == [None] * 3
    kinds = {name: found[name].kind for name in ("folder", "link", "dangling", "pipe", "missing", "to-folder followed")}
    assert list(kinds.values()) == ["directory", "link", "link", "other", "missing", "directory"]
    assert found["to-folder"].target == "folder"


def test_a_hundred_files_cost_two_processes(place: Path) -> None:
    looks = {}
    for number in range(100):
        (place / f"file{number}").write_text(str(number))
        looks[f"file{number}"] = Look(f"{place}/file{number}", content=True, known=hashlib.sha256(b"0").hexdigest())
    tools, said = place / "tools", place / "said"
    tools.mkdir()
    for tool in ("stat", "sha256sum"):
        (tools / tool).write_text(f'#!/bin/sh\necho {tool} >>{said}\nexec {shutil.which(tool)} "$@"\n')
        (tools / tool).chmod(0o755)
    found = ask(looks, ["sh"], f"{tools}:{os.environ['PATH']}")
    assert [seen(section).content for section in found.values()] == [None, *(b"%d" % n for n in range(1, 100))]
    assert sorted(said.read_text().split()) == ["sha256sum", "stat"]


def test_one_that_cannot_be_read_is_no_other_ones_matter(place: Path) -> None:
    tools = place / "tools"
    tools.mkdir()
    # As of a disk that is broken in one place; root may read whatever it likes.
    (tools / "sha256sum").write_text(
        "#!/bin/sh\n"
        f'[ $# -gt 0 ] || {{ echo "Input/output error" >&2; exit 1; }}\n'
        f'shift; exec {shutil.which("sha256sum")} -- "$1"\n'
    )
    (tools / "sha256sum").chmod(0o755)
    looks = {"good": Look(f"{place}/plain"), "bad": Look(f"{place}/empty"), "gone": Look(f"{place}/none")}
    found = ask(looks, ["sh"], f"{tools}:{os.environ['PATH']}")
    assert seen(found["good"]).kind == "file"
    assert seen(found["gone"]).kind == "missing"
    assert (found["bad"].rc, found["bad"].out, found["bad"].err) == (1, b"", b"Input/output error\n")
