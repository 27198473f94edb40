"""Services that are asked for together: the same answers as one by one, by one call of systemctl."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from provision.engine.script import probes
from provision.resources.base import Section
from provision.resources.service import SPEC, Service

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
# `bad` is a name that makes systemctl give up in the middle, as of a unit that cannot be read.
_SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>"$SAID"
shift 4
first=1
for unit; do
    [ "$unit" != bad.service ] || { echo "Failed to get properties" >&2; exit 1; }
    [ -n "$first" ] || echo
    first=
    printf '%s\\n' "MainPID=$PID" Type=simple ActiveState=active "Description=$unit" UnitFileState=enabled
done
"""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_together_they_answer_as_they_do_alone(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "systemctl").write_text(_SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    file, said = tmp_path / "it's a file", tmp_path / "said"
    file.touch()
    services = {
        "plain": Service("a"),
        "ours": Service("b", spec="x" * 64),
        "theirs": Service("c", files=(str(file), "/nowhere")),
        "bad": Service("bad"),
        "last": Service("ours@1.service", spec="x", files=(str(file),)),
    }
    process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "A": "1\n=", SPEC: "x" * 64, "B": ""})

    def ask(*names: str) -> dict[str, Section]:
        script = probes({name: services[name].probe() for name in names})
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PID": str(process.pid), "SAID": str(said)}
        return script.parse(subprocess.run([*shell, "-c", script.text], env=environ, capture_output=True).stdout)

    try:
        together = ask(*services)
        calls = said.read_text().splitlines()
        assert together == {name: ask(name)[name] for name in services}
    finally:
        process.kill()
        process.wait()
    found = {name: services[name].observe(section) for name, section in together.items() if name != "bad"}
    assert [(one["Description"], one.spec, one.newest_file) for one in found.values()] == [
        ("a.service", "", ""),
        ("b.service", "x" * 64, ""),
        ("c.service", "", str(file)),
        ("ours@1.service", "x" * 64, str(file)),
    ]
    assert [bool(one.started) for one in found.values()] == [False, False, True, True]
    with pytest.raises(ValueError, match="Failed to get properties"):
        services["bad"].observe(together["bad"])
    # The two behind the bad one were asked for again.
    assert [call.partition(" -- ")[2] for call in calls] == [
        "a.service b.service c.service bad.service ours@1.service",
        "bad.service",
        "ours@1.service",
    ]
