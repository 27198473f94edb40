"""Files, directories and links, in a real shell below a folder."""

import os
from pathlib import Path

import pytest

from provision.resources.base import Change, Pending, Section, Upload
from provision.resources.file import Absent, Directory, File, Link, elide
from provision.resources.look import SHOWN
from tests.unit.resources.here import GROUP, OWNER, Here, StepFailed

TARGET = "/etc/app/app.conf"


@pytest.fixture(params=[("dash",), ("busybox", "sh"), ("bash",)], ids=["dash", "busybox", "bash"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    return Here(tmp_path, shell=request.param)


def file(
    content: str | bytes | Path = "listen 1\n",
    mode: str = "0644",
    sensitive: bool = False,
    hidden: tuple[str, ...] = (),
) -> File:
    return File(TARGET, content, mode=mode, owner=OWNER, group=GROUP, sensitive=sensitive, hidden=hidden)


def change(here: Here, wanted: File | Directory | Link | Absent) -> Change:
    found = here.plan(wanted)
    assert found is not None
    return found


def litter(here: Here) -> list[str]:
    return [path.name for path in here.path("/etc/app").iterdir() if path.name != "app.conf"]


@pytest.mark.parametrize(
    "content",
    ["", "one line", "two\nlines\n", 'it\'s "quoted" $HOME `date` \\n %s\n', "grüße\n", "-n\n"],
    ids=["empty", "no newline", "lines", "shell characters", "umlauts", "an option"],
)
def test_a_file_is_made_with_its_parents_and_then_nothing_is_to_be_done(here: Here, content: str) -> None:
    made = here.apply(file(content, mode="0640"))
    assert made is not None
    assert made.action == "create"
    path = here.path(TARGET)
    assert path.read_text() == content
    assert path.stat().st_mode & 0o7777 == 0o640
    assert here.plan(file(content, mode="0640")) is None
    assert litter(here) == []


@pytest.mark.parametrize(
    "content", [b"\x00\xff\n\x00", "x" * (SHOWN + 1)], ids=["binary", "larger than a script should be"]
)
def test_what_does_not_fit_into_a_script_is_uploaded(here: Here, content: str | bytes) -> None:
    here.apply(file(content))
    assert here.path(TARGET).read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert any(isinstance(step, Upload) for step in here.ran)
    assert here.plan(file(content)) is None
    assert list(here.path("/run/provision/incoming").iterdir()) == []


def test_a_file_of_the_control_machine_is_uploaded(here: Here, tmp_path: Path) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(bytes(range(256)))
    here.apply(file(local))
    assert here.path(TARGET).read_bytes() == bytes(range(256))


def test_another_content_shows_as_a_diff_and_is_replaced(here: Here) -> None:
    here.put(TARGET, "listen 2\n")
    found = change(here, file())
    assert (found.action, found.why) == ("update", "content differs")
    assert [(diff.before, diff.after) for diff in found.diffs] == [("listen 2\n", "listen 1\n")]
    here.apply(file())
    assert here.plan(file()) is None


def test_only_the_mode_differs(here: Here) -> None:
    here.put(TARGET, "listen 1\n", mode=0o600)
    found = change(here, file())
    assert (found.why, dict(found.before), dict(found.after)) == ("mode differs", {"mode": "0600"}, {"mode": "0644"})
    assert found.diffs == ()


def test_a_reader_never_sees_half_a_file(here: Here) -> None:
    path = here.put(TARGET, "listen 2\n")
    before = path.stat().st_ino
    with path.open() as reader:
        here.apply(file())
        assert reader.read() == "listen 2\n"
    assert path.stat().st_ino != before


def test_a_link_in_place_of_the_file_is_replaced_and_what_it_led_to_stays(here: Here) -> None:
    other = here.put("/etc/other", "mine\n")
    here.path(TARGET).parent.mkdir()
    here.path(TARGET).symlink_to(other)
    found = change(here, file())
    assert "a link to /etc/other stands there" in found.why
    here.apply(file())
    assert not here.path(TARGET).is_symlink()
    assert other.read_text() == "mine\n"


def test_a_link_to_a_directory_is_replaced_and_not_followed(here: Here) -> None:
    here.path("/etc/folder").mkdir(parents=True)
    here.path(TARGET).parent.mkdir()
    here.path(TARGET).symlink_to(here.path("/etc/folder"))
    here.apply(file())
    assert here.path(TARGET).read_text() == "listen 1\n"
    assert list(here.path("/etc/folder").iterdir()) == []


@pytest.mark.parametrize("kind", ["directory", "other"])
def test_what_is_no_file_is_refused(here: Here, kind: str) -> None:
    here.path("/etc/app").mkdir(parents=True)
    if kind == "directory":
        here.path(TARGET).mkdir()
    else:
        os.mkfifo(here.path(TARGET))
    with pytest.raises(ValueError, match=f"a {kind} stands at {TARGET}; move it away"):
        here.plan(file())


def test_when_the_owner_does_not_exist_the_old_file_stays_and_nothing_is_left(here: Here) -> None:
    here.put(TARGET, "old\n")
    with pytest.raises(StepFailed, match="nobody-of-that-name"):
        here.apply(File(TARGET, "new\n", owner="nobody-of-that-name"))
    assert here.path(TARGET).read_text() == "old\n"
    assert litter(here) == []


def test_a_sensitive_content_is_neither_read_back_nor_shown_nor_in_a_script(here: Here) -> None:
    here.put(TARGET, "password=old-secret\n")
    wanted = file("password=new-secret\n", sensitive=True)
    found = change(here, wanted)
    shown = repr((found.before, found.after, found.diffs, found.why, wanted))
    assert found.diffs == ()
    assert "secret" not in shown.replace("sensitive", "")
    assert b"old-secret" not in here.sh(wanted.probe()).out
    assert not any("new-secret" in getattr(step, "script", "") for step in wanted.steps(found))
    here.apply(wanted)
    assert here.path(TARGET).read_text() == "password=new-secret\n"
    assert here.plan(wanted) is None


def test_hidden_values_are_elided_on_both_sides_of_a_diff(here: Here) -> None:
    here.put(TARGET, 'Environment="TOKEN=old" "NAME=a"\n')
    (diff,) = change(here, file('Environment="TOKEN=new" "NAME=b"\n', hidden=("TOKEN",))).diffs
    assert (diff.before, diff.after) == (
        'Environment="TOKEN=***" "NAME=a"\n',
        'Environment="TOKEN=***" "NAME=b"\n',
    )


@pytest.mark.parametrize(
    ("text", "elided"),
    [
        ("KEY=a b\n", "KEY=***\n"),
        ("MY_KEY=a\n", "MY_KEY=a\n"),
        ('{"KEY": "a\\"b", "other": "c"}', '{"KEY": "***", "other": "c"}'),
        ("no key here", "no key here"),
    ],
)
def test_elide(text: str, elided: str) -> None:
    assert elide(text, ("KEY",)) == elided


def test_a_full_disk_leaves_the_old_file(here: Here) -> None:
    here.put(TARGET, "old\n")
    # a limit on the size of a file fails a write as a full disk does
    wanted = file("x" * 4096 + "\n")
    (step,) = wanted.steps(change(here, wanted))
    section = here.sh("trap '' XFSZ 2>/dev/null; ulimit -f 1\n" + getattr(step, "script", ""))
    assert section.rc != 0
    assert here.path(TARGET).read_text() == "old\n"
    assert litter(here) == []


def test_a_directory_is_made_and_its_mode_mended(here: Here) -> None:
    wanted = Directory("/var/lib/app/data", mode="0750", owner=OWNER, group=GROUP)
    assert here.apply(wanted) is not None
    assert here.path("/var/lib/app/data").stat().st_mode & 0o7777 == 0o750
    assert here.plan(wanted) is None
    here.path("/var/lib/app/data").chmod(0o755)
    assert change(here, wanted).why == "mode differs"
    here.apply(wanted)
    assert here.plan(wanted) is None


def test_a_file_where_a_directory_belongs_is_refused(here: Here) -> None:
    here.put("/etc/app", "a file")
    with pytest.raises(ValueError, match="a file stands at /etc/app; move it away"):
        here.plan(Directory("/etc/app", owner=OWNER, group=GROUP))


def test_a_link_is_made_and_switched(here: Here) -> None:
    first = Link("/usr/local/bin/app", "/opt/app/1/app")
    here.apply(first)
    assert str(here.path("/usr/local/bin/app").readlink()).endswith("/opt/app/1/app")
    assert here.plan(first) is None
    second = Link("/usr/local/bin/app", "/opt/app/2/app")
    assert change(here, second).why == "/opt/app/1/app -> /opt/app/2/app"
    here.apply(second)
    assert here.plan(second) is None


def test_a_link_does_not_replace_a_file(here: Here) -> None:
    here.put("/usr/local/bin/app", "a program")
    with pytest.raises(ValueError, match="a file stands at /usr/local/bin/app; move it away"):
        here.plan(Link("/usr/local/bin/app", "/opt/app/1/app"))


def test_what_is_unwanted_is_removed(here: Here) -> None:
    here.put("/etc/app/old.conf")
    found = here.apply(Absent("/etc/app/old.conf", "the second configuration"))
    assert found is not None
    assert (found.action, found.why) == ("remove", "the second configuration")
    assert here.plan(Absent("/etc/app/old.conf")) is None
    assert here.path("/etc/app").is_dir()


def test_a_directory_is_removed_only_when_it_was_meant(here: Here) -> None:
    here.put("/etc/app/lib/one")
    with pytest.raises(ValueError, match="a directory stands at /etc/app/lib"):
        here.plan(Absent("/etc/app/lib"))
    here.apply(Absent("/etc/app/lib", recursive=True))
    assert not here.path("/etc/app/lib").exists()


def test_garbage_instead_of_an_answer_is_an_error() -> None:
    wanted = file()
    for out in (b"", b"file 644\n", b"\xff\xfe"):
        with pytest.raises(ValueError, match="not a description of a file"):
            wanted.plan(wanted.observe(Section(0, out)), Pending())
