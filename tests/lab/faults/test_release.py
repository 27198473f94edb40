"""A release that cannot be had, is hostile, or does not fit: the old version works on, nothing half-made is left."""

import io
import random
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provision.errors import ResourceFailed
from provision.resources.release import Further, Release
from provision.values import sha256
from tests.lab.applying import Applier, actions
from tests.lab.cli import Office
from tests.lab.hosts import LabHost, Result
from tests.lab.mirror import Halt, Mirror, mirror
from tests.lab.prepare import Lab
from tests.lab.reached import Desk

ZST = "ollama-linux-amd64.tar.zst"
DISK = "/opt/ollama"


@dataclass(frozen=True)
class Served:
    """A bare host with Ollama 0.9.3 from a `.tar.zst` on a disk of its own; and how it went before `base` was there."""

    host: LabHost
    office: Office
    without_base: Result

    def works(self) -> None:
        """The old server answers, and nothing else is on the disk."""
        assert '"0.9.3"' in self.host.check("curl -sS http://127.0.0.1:11434/api/version")
        assert self.host.check(f"ls -A {DISK}; readlink /usr/local/bin/ollama") == f"0.9.3\n{DISK}/0.9.3/bin/ollama\n"

    def leave(self, mib: int) -> None:
        """Make the disk so large that `mib` MiB are free."""
        used = int(self.host.check(f"df -Pk {DISK} | awk 'END {{ print $3 }}'"))
        self.host.check(f"mount -o remount,size={used + mib * 1024}k {DISK}")


@pytest.fixture(scope="module")
def artifacts(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions as `.tar.zst` alone."""
    folder = tmp_path_factory.mktemp("artifacts")
    for version in ("v0.9.3", "v0.9.4"):
        (folder / version).mkdir()
        for name in (ZST, "sha256sum.txt"):
            (folder / version / name).symlink_to(lab.artifacts / version / name)
    return folder


@pytest.fixture(scope="module")
def served(lab: Lab, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    host = LabHost.start(variant="bare")
    office = Office(tmp_path_factory.mktemp("office"))
    office.add(host, provision_roles=["ollama"], artifacts=str(artifacts))
    office.variables |= {"ollama": {"version": "0.9.3", "allow_vulnerable": True}, "base": {"time": False}}
    without_base = office.run("apply")
    host.check(f"mkdir -p {DISK} && mount -t tmpfs -o size=400m none {DISK}")
    office.hosts[host.name]["provision_roles"] = ["base", "ollama"]
    office.check("apply")
    yield Served(host, office, without_base)
    host.remove()


@pytest.fixture
def applier(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Applier:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Applier(served.host, Desk.at(tmp_path / "desk").knows(served.host))


def test_a_zst_archive_needs_zstd_which_base_installs(served: Served) -> None:
    line = f"{served.host.name}: release:ollama: zstd is not installed, which unpacks {ZST}: the role base installs it"
    assert served.without_base.rc == 1
    assert line in served.without_base.out.splitlines()
    assert served.host.check("command -v zstd")
    served.works()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", owner: str = "root") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.uname, made.mode = kind, target, owner, 0o755
    return made


def archive(*members: tarfile.TarInfo, content: bytes = b"#!/bin/sh\n") -> bytes:
    """A `.tgz` of these; regular files have this content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for one in members:
            one.size = len(content) if one.isreg() else 0
            tar.addfile(one, io.BytesIO(content) if one.isreg() else None)
    return out.getvalue()


PROGRAM = member("bin/ollama")
SYMLINK, HARDLINK = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = {
    "an absolute path": [member("/etc/evil")],
    "a path out of the tree": [member("lib/../../../etc/evil")],
    "a link to an absolute path": [member("lib/evil", SYMLINK, "/etc/passwd")],
    "a link out of the tree": [member("lib/evil", SYMLINK, "../../0.9.3/bin/ollama")],
    "a file through a link": [member("lib", SYMLINK, "/etc"), member("lib/evil")],
    "a link with an arrow in its name": [member("lib/a -> b", SYMLINK, "../../../../etc")],
    "a hard link to an absolute path": [member("lib/evil", HARDLINK, "/etc/passwd")],
    "a hard link out of the tree": [member("lib/evil", HARDLINK, "lib/../../0.9.3/bin/ollama")],
    "a hard link with a link's words in its name": [member("a link to b", HARDLINK, "../0.9.3/bin/ollama")],
    "an owner who shifts the columns": [member("../evil", owner="root 0 2026-01-01 00:00 lib/")],
    "a character device": [member("lib/evil", tarfile.CHRTYPE)],
    "a block device": [member("lib/evil", tarfile.BLKTYPE)],
    "a pipe": [member("lib/evil", tarfile.FIFOTYPE)],
}


def release(tmp_path: Path, content: bytes, name: str = "ollama") -> Release:
    file = tmp_path / "hostile.tgz"
    file.write_bytes(content)
    return Release(name, "9.9.9", file, sha256(content), link=f"/usr/local/bin/{name}")


def test_a_hostile_archive_is_refused_whole(served: Served, applier: Applier, tmp_path: Path) -> None:
    for what, members in HOSTILE.items():
        content = archive(PROGRAM, *members)
        with pytest.raises(ResourceFailed) as refused:
            applier.apply(release(tmp_path, content))
        assert "release:ollama: the archive is refused: it holds" in str(refused.value), what
        served.works()
    assert served.host.exec("ls /etc/evil /opt/evil").out == ""


def test_links_within_the_tree_are_welcome(served: Served, applier: Applier, tmp_path: Path) -> None:
    links = [member("lib/a.so", SYMLINK, "deep/../b.so"), member("./lib/c.so", HARDLINK, "bin/ollama")]
    wanted = release(tmp_path, archive(PROGRAM, *links, member("bin/self", SYMLINK, "../bin/ollama")), "linked")
    assert actions(applier.apply(wanted)) == ["install release:linked"]
    assert served.host.check("ls /opt/linked/9.9.9/lib").split() == ["a.so", "c.so"]
    assert applier.plan(wanted).changes == ()


def test_a_further_archive_is_unpacked_over_the_first_or_neither(
    served: Served, applier: Applier, tmp_path: Path
) -> None:
    """As ROCm's libraries over the base."""
    base, further = tmp_path / "base.tgz", tmp_path / "base-rocm.tgz"
    base.write_bytes(archive(PROGRAM, member("lib/cuda/a"), member("deep/up", SYMLINK, "..")))
    wanted = Release("twofold", "1.0", base, link="/usr/local/bin/twofold", further=(Further(further),))
    for evil, why in (
        (member("lib/rocm/../../../evil"), "it holds "),
        # By its name two levels down; through the first archive's link it stands at the top.
        (member("deep/up/evil", SYMLINK, "../.."), "it holds the link evil, which leads out of its tree"),
    ):
        further.write_bytes(archive(evil))
        with pytest.raises(ResourceFailed, match=f"release:twofold: the archive is refused: {why}"):
            applier.apply(wanted)
        assert served.host.check("ls -A /opt/twofold") == ""
    further.write_bytes(archive(member("lib/rocm/b")))
    assert actions(applier.apply(wanted)) == ["install release:twofold"]
    found = served.host.check("cd /opt/twofold/1.0 && find . -type f | sort").split()
    assert found == ["./.provision-release", "./bin/ollama", "./lib/cuda/a", "./lib/rocm/b"]
    assert applier.plan(wanted).changes == ()
    (change,) = applier.plan(replace(wanted, further=(*wanted.further, Further(base)))).changes
    assert change.why == "version 1.0 with base.tgz"


def test_an_archive_that_ends_too_early_is_told(served: Served, applier: Applier, tmp_path: Path) -> None:
    content = archive(PROGRAM, content=random.Random(0).randbytes(1 << 20))[: 1 << 19]
    with pytest.raises(ResourceFailed, match="release:ollama: the archive is damaged"):
        applier.apply(release(tmp_path, content))
    served.works()


def test_on_a_full_disk_the_old_version_works_on_and_then_there_is_room(served: Served, artifacts: Path) -> None:
    office, host = served.office, served.host
    office.variables["ollama"]["version"] = "0.9.4"
    try:
        # The archive itself does not fit; it fits, but what is in it does not.
        for mib, says in ((20, r"46\.2 MB are needed"), (60, r"1\d\d MB are needed to unpack it")):
            served.leave(mib)
            refused = office.run("apply")
            assert (refused.rc, f"disk {DISK}: not enough room" in refused.out) == (1, True)
            result = office.run("apply", "--skip-preflight")
            assert result.rc == 1
            line = rf"^{host.name}: release:ollama: no space in {DISK}: {says}, \d+ MB are free$"
            assert re.search(line, result.out, re.MULTILINE), result.out
            served.works()
        served.leave(300)
        office.check("apply")
        assert '"0.9.4"' in host.check("curl -sS http://127.0.0.1:11434/api/version")
        assert "0 changed" in office.check("apply")
    finally:
        served.leave(300)
        office.variables["ollama"]["version"] = "0.9.3"
        office.check("apply")
        host.check(f"rm -rf {DISK}/0.9.4")


PATH = "/v9.9.9/program.tgz"


@pytest.fixture(scope="module")
def program() -> bytes:
    """An archive of 3 MB with a program."""
    return archive(member("bin/ollama"), content=random.Random(1).randbytes(3 << 20))


@pytest.fixture
def source(served: Served, program: bytes) -> Iterator[Mirror]:
    with mirror() as made:
        made.files[PATH] = program
        yield made
    served.host.check("rm -rf /opt/program /usr/local/bin/program")


def fetched(source: Mirror, program: bytes, **settings: object) -> Release:
    digest = sha256(program)
    return Release("program", "9.9.9", (source.url + PATH,), digest, link="/usr/local/bin/program", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("halt", Halt)
def test_a_download_goes_on_where_it_broke_off(applier: Applier, source: Mirror, program: bytes, halt: Halt) -> None:
    source.halts = [halt]
    applier.apply(fetched(source, program, stall=3))
    (_, first, _), (_, again, rest) = source.sent
    # curl writes whole buffers: when it is ended in a stall, what is in its last one is fetched again.
    assert (first, rest) == (0, len(program) - again)
    assert 0 <= len(program) // 2 - again < 64 << 10
    says = "no progress for 3 s" if halt is Halt.STALL else r"cannot download .*: curl: \(18\)"
    assert any(re.search(says, event.text) for event in applier.events if hasattr(event, "text"))


def test_a_server_that_cannot_begin_in_the_middle_sends_all_again(
    applier: Applier, source: Mirror, program: bytes
) -> None:
    source.ranges, source.halts = False, [Halt.CUT]
    applier.apply(fetched(source, program))
    assert source.sent[-1] == (PATH, 0, len(program))
    assert applier.plan(fetched(source, program)).changes == ()


def test_what_an_interrupted_run_left_is_used_or_removed(
    served: Served, applier: Applier, source: Mirror, program: bytes
) -> None:
    host, wanted = served.host, fetched(source, program)
    waiting = "/opt/program/.9.9.9-program.tgz"
    for left in (program, program + b"more than there is", b""):
        source.sent.clear()
        host.check("rm -rf /opt/program /usr/local/bin/program")
        host.put(waiting, left)
        host.put("/opt/program/.9.9.8-program.tgz", b"of another version")
        host.check("mkdir /opt/program/.9.9.8.new")
        applier.apply(wanted)
        # What is whole is not fetched again.
        assert [sent for _, _, sent in source.sent] == ([] if left == program else [len(program)])
        assert host.check("ls -A /opt/program").split() == ["9.9.9"]


def test_a_download_that_does_not_fit_is_told_before_it_begins(
    served: Served, applier: Applier, source: Mirror, program: bytes
) -> None:
    served.host.check("mkdir -p /opt/program && mount -t tmpfs -o size=2m none /opt/program")
    try:
        with pytest.raises(ResourceFailed, match="no space in /opt/program: 3 MB are needed, 2 MB are free"):
            applier.apply(fetched(source, program))
        assert source.sent == []
        assert served.host.check("ls -A /opt/program") == ""
    finally:
        served.host.check("umount /opt/program")
