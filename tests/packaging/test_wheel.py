"""What a user installs: built from the checkout, used from elsewhere, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the sdist, as a package index would get it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(out), cwd=ROOT)
    sdist = next(out.glob("*.tar.gz"))
    run("tar", "xzf", str(sdist), "-C", str(out))
    source = out / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=source)
    return next(out.glob("*.whl"))


def run(*command: str, cwd: Path | None = None) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_wheel_carries_roles_templates_and_inventories_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("roles/ollama.py", "templates/ollama/ollama.service.j2", "inventory/office.yml"):
        assert f"provision/_bundled/{wanted}" in names
    assert "provision/facts/probe.sh" in names
    assert "provision/resources/managers/zypper.sh" in names
    assert not [name for name in names if "tests/" in name and "_bundled" not in name]


def test_the_installed_command_makes_and_checks_a_fleet(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    run(str(tmp_path / "venv/bin/pip"), "install", "--quiet", str(wheel))
    provision = str(tmp_path / "venv/bin/provision")
    run(provision, "init", "office", cwd=tmp_path)
    assert "0 mistakes" in run(provision, "check", cwd=tmp_path / "office")
    assert "open_webui" in run(provision, "schema", cwd=tmp_path / "office")
