"""`ansible_connection: local`: the program runs on the server itself, as a user who may use sudo."""

import io
import subprocess
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.lab.cli import FILES_ROLE, ROOT
from tests.lab.hosts import LabHost

# What the program needs, as distributions name their folders; the rest of the virtual environment is for tests.
NEEDED = (
    "paramiko", "invoke", "cryptography", "bcrypt", "nacl", "cffi", "_cffi_backend*", "pycparser", "docker", "requests",
    "urllib3", "idna", "certifi", "charset_normalizer", "jinja2", "markupsafe", "yaml", "_yaml", "pydantic",
    "pydantic_core", "pydantic-*", "annotated_types", "typing_extensions*", "typing_inspection", "click",
    "rich", "pygments", "markdown_it", "mdurl", "colorama", "*.dist-info",
)  # fmt: skip


def program() -> bytes:
    """provision and its dependencies, as a tar of one folder."""
    out = io.BytesIO()
    packages = Path(sysconfig.get_path("purelib"))
    with tarfile.open(fileobj=out, mode="w") as archive:
        for pattern in NEEDED:
            for path in packages.glob(pattern):
                archive.add(path, path.name)
        for name in ("provision", "roles", "templates", "inventory"):
            archive.add(ROOT / name, name)
    return out.getvalue()


@pytest.fixture(scope="module")
def server(hosts: Callable[..., LabHost]) -> LabHost:
    """A Debian 12 host, whose Python is the one of the machine that made the virtual environment: 3.11."""
    host = hosts(suite="debian-12")
    host.check("apt-get update -qq && apt-get install -qq -y --no-install-recommends python3", timeout=600)
    host.check("mkdir -p /opt/program /home/admin/fleet/roles")
    subprocess.run(["docker", "exec", "-i", host.name, "tar", "xC", "/opt/program"], input=program(), check=True)
    inventory = {
        "all": {
            "hosts": {"localhost": {"ansible_connection": "local", "ansible_become": True}},
            "vars": {"provision_roles": ["files"], "files": {"files": {"/srv/files/a": "one\n"}}},
        }
    }
    host.put("/home/admin/fleet/inventory.yml", yaml.safe_dump(inventory).encode())
    host.put("/home/admin/fleet/roles/files.py", FILES_ROLE.encode())
    return host


def run(server: LabHost, words: str) -> tuple[int, str]:
    result = server.ssh(f"cd fleet && PYTHONPATH=/opt/program python3 -m provision {words} 2>&1", timeout=300)
    return result.rc, result.out + result.err


def test_a_user_provisions_the_machine_he_sits_at(server: LabHost) -> None:
    assert run(server, "check") == (0, "inventory.yml: 1 host, 0 groups, 0 mistakes\n")
    code, out = run(server, "plan --exit-code")
    assert (code, out.splitlines()[0]) == (2, "localhost: 1 change, 0 unchanged"), out
    code, out = run(server, "apply")
    assert code == 0, out
    assert server.check("cat /srv/files/a; stat -c %U /srv/files/a") == "one\nroot\n"
    code, out = run(server, "apply")
    assert code == 0
    assert "0 changed  1 unchanged" in out


def test_the_example_for_one_machine_is_right(server: LabHost) -> None:
    code, out = run(server, "check -i /opt/program/inventory/localhost.yml")
    assert "WEBUI_ADMIN_PASSWORD" in out
    assert code == 3
    command = "WEBUI_ADMIN_PASSWORD=x PYTHONPATH=/opt/program python3 -m provision check"
    assert server.ssh(f"{command} -i /opt/program/inventory/localhost.yml").rc == 0
