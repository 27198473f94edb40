import io
import subprocess
import sys
from pathlib import Path

import pytest

from provision.host import sshconfig
from provision.host.target import Target

LOOK = "import sys, provision.host.ssh; print('invoke' in sys.modules); import invoke; print(invoke.run is not None)"


def test_ssh_is_imported_without_invoke_which_others_can_still_import() -> None:
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_match_exec_works_where_openssh_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text('Match exec "true"\n  User taken\n')
    monkeypatch.setattr("shutil.which", lambda _name: None)
    # invoke reads it, and pytest's own forbids that
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert sshconfig.route(Target("gpu01", config_file=config)).user == "taken"
