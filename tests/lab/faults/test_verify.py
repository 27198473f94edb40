"""A host that dies in the middle of `verify`: one line for it, and all that is known of the others."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.wait import until

# Files are asked for by `stat`: the host is in the middle of its answer.
_ASKED = b"""#!/bin/sh
: >/run/asked
exec sleep 600
"""
_OWN = """\
def test_every_host_has_its_file(host):
    assert host.file("/srv/files/a").content_string == "one\\n"
"""


def test_a_host_that_dies_in_the_middle_is_told_and_the_others_are_verified(
    hosts: Callable[..., LabHost], tmp_path: Path
) -> None:
    office, dying, other = Office(tmp_path / "office"), hosts(), hosts()
    variables = {"provision_roles": ["files"], "files": {"files": {"/srv/files/a": "one\n"}}}
    office.add(dying, "dying", **variables)
    office.add(other, "other", **variables)
    office.check("apply")
    (office.folder / "tests").mkdir()
    (office.folder / "tests" / "test_office.py").write_text(_OWN)
    dying.put("/usr/local/bin/stat", _ASKED, mode=0o755)
    verifying = office.start("verify", "--json", "--junit", "proof.xml")
    until(lambda: dying.exec("test -e /run/asked").rc == 0, "a question", 60)
    dying.container.kill()
    out, err = verifying.communicate(timeout=120)
    assert verifying.returncode == 1, out + err
    assert "Traceback" not in out + err
    found = {(one["host"], one["check"]): one for one in map(json.loads, out.splitlines())}
    assert found["dying", "reached"]["status"] == "failed"
    assert "connection" in found["dying", "reached"]["message"]
    assert [check for host, check in found if host == "dying"] == ["reached"]
    mine = {check: one["status"] for (host, check), one in found.items() if host == "other"}
    assert set(mine.values()) == {"passed"}
    assert {"drift", "files", "reachable ports", "test_office.py::test_every_host_has_its_file"} <= set(mine)
    cases = {
        (case.get("classname"), case.get("name")) for case in ET.parse(office.folder / "proof.xml").iter("testcase")
    }
    assert set(found) <= cases
