"""Every mistake of an inventory in one run, each at its place. A file of `mistakes/` ends with what is said of it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.errors import InputError
from provision.inventory import load
from tests.unit.inventory.roles import SCHEMAS

CASES = sorted((Path(__file__).parent / "mistakes").glob("*.yml"))


def mistakes(path: Path) -> list[str]:
    """What is wrong with an inventory, without the folder of the files."""
    with pytest.raises(InputError) as caught:
        load(path, SCHEMAS, environ={})
    folder = path if path.is_dir() else path.parent
    return [str(mistake).removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_mistake_is_said_with_its_place(path: Path) -> None:
    said = [f"{path.name}:{line[3:]}" for line in path.read_text().splitlines() if line.startswith("#= ")]
    assert said, "the case says nothing"
    assert mistakes(path) == said


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    files = {
        "hosts.yml": "all:\n  hosts: {gpu01: }\n  vars: {provision_roles: [ollama], ollama: {prot: 1}}\n  host: {}\n",
        "group_vars/all.yml": "ollama: {listen: wan}\n",
        "group_vars/all.yaml": "not: read, because of all.yml\n",
        "host_vars/gpu01/a.yml": "- list\n",
        "host_vars/gpu01/b.yml": "x: {\n",
    }
    assert mistakes(write(tmp_path, files) / "hosts.yml") == [
        "group_vars/all.yml:1:18: ollama.listen: should be 'loopback' or 'lan', not 'wan'; did you mean 'lan'?",
        "host_vars/gpu01/a.yml:1:1: a file of variables is a mapping",
        "host_vars/gpu01/b.yml:2:1: not YAML: did not find expected node content",
        "hosts.yml:3:46: unknown key 'prot'; did you mean 'port'?",
        "hosts.yml:4:3: unknown key 'host' in the group 'all'; did you mean 'hosts'?",
    ]


def test_an_inventory_that_is_not_yaml_still_has_its_other_files_read(tmp_path: Path) -> None:
    files = {"hosts.yml": "all: {\n", "group_vars/web.yml": "a: [\n"}
    found = mistakes(write(tmp_path, files) / "hosts.yml")
    assert [line.split(":")[0] for line in found] == ["group_vars/web.yml", "hosts.yml"]


def test_a_mistake_that_many_hosts_share_is_said_once(tmp_path: Path) -> None:
    text = 'all:\n  hosts: {"h[1:500]": }\n  vars: {provision_roles: [ollama], ollama: {port: x}}\n'
    assert len(mistakes(write(tmp_path, {"hosts.yml": text}) / "hosts.yml")) == 1


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    text = "all:\n  hosts: {h: {ansible_password: hunter2, ansible_become_pass: '{{ 1 +', ansible_port: x}}\n"
    assert "hunter2" not in "\n".join(mistakes(write(tmp_path, {"hosts.yml": text}) / "hosts.yml"))


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("hosts.ini", "[web]\nchat01\n", "only YAML inventories are read"),
        ("hosts", "# office\n[web]\nchat01 ansible_host=10.0.0.1\n", "only YAML inventories are read"),
        ("hosts", "[all:vars]\nx=1\n", "only YAML inventories are read"),
        ("hosts.py", "print('{}')\n", "a dynamic inventory is not read"),
        ("hosts", "#!/bin/sh\necho '{}'\n", "a dynamic inventory is not read"),
    ],
)
def test_other_kinds_of_inventories_are_refused_with_the_way_out(
    tmp_path: Path, name: str, text: str, what: str
) -> None:
    path = write(tmp_path, {name: text}) / name
    assert mistakes(path) == [
        f"{name}:1:1: {what}: write `ansible-inventory -i {path} -y --list > FILE.yml` and use that file"
    ]


def test_the_way_out_leads_to_an_inventory_that_is_read(tmp_path: Path) -> None:
    ini = write(tmp_path, {"hosts.ini": "[web]\nchat01 ansible_host=10.0.0.1 note='{{ x }}'\n"}) / "hosts.ini"
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(ini), "-y", "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ)
    fleet = load(write(tmp_path, {"out.yml": listed.stdout}) / "out.yml", SCHEMAS)
    assert fleet.groups["web"] == ("chat01",)
    assert fleet.hosts["chat01"].connection.host == "10.0.0.1"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"all: \xff", "hosts.yml:1:6: not UTF-8 text"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n3132\n", "hosts.yml:1:1: Ansible Vault is not read here"),
        (b"", "NOTHING"),
    ],
)
def test_bytes_that_are_no_inventory(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_bytes(content)
    if what == "NOTHING":
        assert len(load(path, SCHEMAS).hosts) == 0
    else:
        assert mistakes(path)[0].startswith(what)


def test_a_missing_inventory(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "no.yml") == ["no.yml: there is no such file"]
    assert mistakes(tmp_path) == [f"{tmp_path}: no YAML inventory in this directory"]


def doubling(levels: int) -> str:
    """The billion laughs."""
    lines = ["all:", "  vars:", "    a0: &a0 [x, x]"]
    lines += [f"    a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def chain(levels: int) -> str:
    """Deep only through aliases."""
    lines = ["all:", "  vars:", "    a0: &a0 [x]"]
    lines += [f"    a{n}: &a{n} [*a{n - 1}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS: dict[str, tuple[Callable[[], str], str]] = {
    "billion laughs": (lambda: doubling(60), "more than 200,000 values, aliases included"),
    "chain of aliases": (lambda: chain(500), "nested more than 40 deep"),
    "deep lists": (lambda: "all: " + "[" * 100_000, "nested more than 40 deep"),
    "deep mappings": (lambda: "all: " + "{a: " * 100_000, "nested more than 40 deep"),
    "deep blocks": (lambda: "".join(f"{' ' * n}a:\n" for n in range(2000)), "nested more than 40 deep"),
    "many values": (lambda: "all: {vars: {x: [" + "1," * 300_000 + "]}}", "more than 200,000 values"),
    "a large file": (lambda: "# " + "x" * (9 << 20), "larger than 8 MiB"),
    "many hosts": (lambda: "all: {hosts: {'h[1:9000]': , 'i[1:9000]': }}", "more than 10,000 hosts"),
    "a wide range": (lambda: "all: {hosts: {'h[0:99999999999999]': }}", "stands for more than 10,000 hosts"),
    "ranges of ranges": (lambda: "all: {hosts: {'" + "h[0:9]" * 40 + "': }}", "stands for more than 10,000 hosts"),
    "merge keys": (
        lambda: "x: &x {" + "".join(f"k{n}: 1, " for n in range(500)) + "}\ny: [" + "{<<: *x}, " * 500 + "]\n",
        "more than 200,000 values",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_quickly(tmp_path: Path, name: str) -> None:
    make, what = BOMBS[name]
    path = write(tmp_path, {"hosts.yml": make()}) / "hosts.yml"
    began = time.process_time()
    assert what in mistakes(path)[0]
    assert time.process_time() - began < 5
