"""Variables, groups and patterns are those of ansible-core; merged settings those of its `merge` behaviour."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from provision.errors import InputError
from provision.inventory import Fleet, load
from provision.inventory.document import value_of
from provision.inventory.hostnames import expand
from provision.inventory.layers import Layers, VarsFiles
from provision.inventory.reader import read_tree
from tests.unit.inventory.conftest import Ansible
from tests.unit.inventory.made import GROUPS, HOSTS, NAMES, Inventory, inventories

HAND_WRITTEN = sorted((Path(__file__).parent / "agree").iterdir())


class Anything(RootModel[Any]):
    pass


SCHEMAS: dict[str, type[BaseModel]] = {"ollama": Anything}
MANY = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def ours(fleet: Fleet) -> dict[str, Any]:
    return {name: {"vars": plain(dict(host.vars)), "groups": list(host.groups)} for name, host in fleet.hosts.items()}


@MANY
@given(inventory=inventories(), pattern=st.lists(st.sampled_from((*GROUPS, "all", "h1", "n*", "~[xh].")), max_size=3))
def test_made_inventories(ansible: Ansible, merging_ansible: Ansible, inventory: Inventory, pattern: list[str]) -> None:
    joined = ",".join(f"{sign}{term}" for sign, term in zip(("", "&", "!"), pattern, strict=False)) or "all"
    with tempfile.TemporaryDirectory() as folder:
        path = inventory.write(Path(folder))
        ansible.send(path, joined)
        merging_ansible.send(path)
        fleet = load(path, SCHEMAS)
        theirs, merging = ansible.answer(), merging_ansible.answer()
        assert ours(fleet) == theirs["hosts"]
        if not inventory.nulls:
            assert merged(path) == {name: host["vars"] for name, host in merging["hosts"].items()}
    try:
        found = {host.name for host in fleet.match(joined)}
    except InputError:
        return  # A term names nothing: a mistake here, an empty set in Ansible.
    assert found == set(theirs["matches"][joined])


def merged(path: Path) -> dict[str, Any]:
    """Every variable of every host as if it were a role's settings."""
    tree, _, _ = read_tree(path)
    layers = Layers(tree, VarsFiles(path, []))
    return {
        host: {name: plain(value_of(setting.merged)) for name, setting in layers.of(host, groups).items()}
        for host, groups in tree.memberships().items()
    }


@pytest.mark.parametrize("folder", HAND_WRITTEN, ids=lambda folder: folder.name)
def test_hand_written_inventories(ansible: Ansible, merging_ansible: Ansible, folder: Path) -> None:
    path = folder if (folder / "00.yml").exists() else folder / "hosts.yml"
    assert ours(load(path, SCHEMAS)) == ansible.ask(path)["hosts"]
    assert merged(path) == {name: host["vars"] for name, host in merging_ansible.ask(path)["hosts"].items()}


def test_the_child_process_says_what_ansible_inventory_says(ansible: Ansible, tmp_path: Path) -> None:
    path = Path(__file__).parent / "agree" / "office" / "hosts.yml"
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(path), "--list"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ)
    hostvars = json.loads(listed.stdout)["_meta"]["hostvars"]
    assert hostvars == {name: host["vars"] for name, host in ansible.ask(path)["hosts"].items() if host["vars"]}


PATTERNS = (
    "all", "*", "gpu", "web", "gpu01.lan", "gpu:web", "gpu,web", "web,gpu", "gpu:!gpu02.lan", "all:!gpu", "gpu:&lab",
    "!web", "&lab", "g*", "~gpu0[12]", "~(web|chat)", "gpu[0]", "gpu[-1]", "gpu[1:2]", "gpu[1:]", "gpu[0:0]", "*.lan",
    "gpu0?.lan", "chat.lan:gpu[0]", "lab:gpu:!chat.lan", "office", "office[1]", "gpu[0],web[0]",
    "all:!gpu:!web", "ungrouped",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_give_the_same_hosts_in_the_same_order(ansible: Ansible, pattern: str) -> None:
    path = Path(__file__).parent / "agree" / "office" / "hosts.yml"
    fleet = load(path, SCHEMAS)
    found = [host.name for host in fleet.match(pattern)]
    theirs = ansible.ask(path, pattern)["matches"][pattern]
    # All hosts come in the order of the file here; Ansible walks the groups level by level.
    everyone = pattern in ("all", "*") or pattern.startswith(("all:", "!", "&"))
    assert found == (sorted(theirs, key=list(fleet.hosts).index) if everyone else theirs)


def test_settings_of_a_host_are_the_merged_ones(merging_ansible: Ansible) -> None:
    path = Path(__file__).parent / "agree" / "office" / "hosts.yml"
    fleet = load(path, SCHEMAS)
    theirs = merging_ansible.ask(path)["hosts"]
    checked = 0
    for name, host in fleet.hosts.items():
        for role in host.roles:
            assert plain(host.settings[role].model_dump()) == theirs[name]["vars"].get(role)
            checked += 1
    assert checked >= 3


def test_the_made_inventories_are_worth_the_comparison() -> None:
    """Guards the generator: ranges, ports and several names are really in it."""
    assert sum(len(expand(host)[0]) > 1 for host in HOSTS) >= 3
    assert len(NAMES) < 10, "names must collide, else no layer wins over another"
