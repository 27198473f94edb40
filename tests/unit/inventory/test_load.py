"""What a good inventory becomes."""

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from provision.errors import InputError
from provision.inventory import Fleet, load
from provision.inventory.locate import find_inventory
from provision.values import Secret
from tests.unit.inventory.roles import SCHEMAS, Model, Models, Ollama, WebUI


def fleet_of(folder: Path, text: str, **files: str) -> Fleet:
    (folder / "hosts.yml").write_text(text)
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yml").write_text(content)
    return load(folder / "hosts.yml", SCHEMAS, environ={"PW": "x"})


def ollama(folder: Path, settings: str) -> Ollama:
    text = f"all:\n  hosts: {{h: }}\n  vars:\n    provision_roles: [ollama]\n    ollama: {settings}\n"
    found = fleet_of(folder, text).hosts["h"].settings["ollama"]
    assert isinstance(found, Ollama)
    return found


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ("{version: 0.30}", "version", "0.30"),
        ("{version: 1_0}", "version", "1_0"),
        ("{version: 2024-01-02}", "version", "2024-01-02"),
        ("{mode: 0644}", "mode", "0644"),
        ("{mode: 22:22}", "mode", "22:22"),
        ("{mode: on}", "mode", "on"),
        ("{mode: 'null'}", "mode", "null"),
        ("{environment: {OLLAMA_A: 1, OLLAMA_B: yes, OLLAMA_C: 0x10}}", "environment",
         {"OLLAMA_A": "1", "OLLAMA_B": "yes", "OLLAMA_C": "0x10"}),
        ("{port: 8080}", "port", 8080),
        ("{port: '8080'}", "port", 8080),
        ("{allow_vulnerable: on}", "allow_vulnerable", True),
        ("{allow_vulnerable: 'no'}", "allow_vulnerable", False),
        ("{keep: forever}", "keep", "forever"),
        ("{keep: 1.5}", "keep", 1.5),
        ("{daemon: {a: 0644, b: on, c: [1, 0.30, x], d: {e: ~}}}", "daemon",
         {"a": 420, "b": True, "c": [1, 0.3, "x"], "d": {"e": None}}),
        ("{version: ~}", "version", "0.32.15"),
        ("~", "port", 11434),
        ("{allow: [h, all]}", "allow", ["h", "all"]),
    ],
)  # fmt: skip
def test_a_field_gets_the_text_or_the_value_that_its_type_asks_for(
    tmp_path: Path, settings: str, field: str, value: Any
) -> None:
    found = getattr(ollama(tmp_path, settings), field)
    assert found == value
    assert type(found) is type(value)


LAYERS = """
all:
  vars:
    provision_roles: [ollama]
    ollama: {version: 1.0, environment: {OLLAMA_A: all, OLLAMA_B: all}, allow: [all], daemon: {x: {y: 1}}}
  children:
    g: {hosts: {h: }, vars: {ollama: {environment: {OLLAMA_B: g, OLLAMA_C: g}, allow: [g], daemon: {x: {z: 2}}}}}
    reset: {hosts: {r: }, vars: {ollama: {environment: {OLLAMA_A: ~}, version: ~, daemon: {x: ~}}}}
    afresh: {hosts: {f: {ollama: {environment: {OLLAMA_Z: f}}}}, vars: {ollama: {environment: ~}}}
    whole: {hosts: {w: }, vars: {ollama: ~}}
"""


def test_mappings_merge_lists_replace_and_null_resets(tmp_path: Path) -> None:
    hosts = fleet_of(tmp_path, LAYERS).hosts
    found = {name: host.settings["ollama"].model_dump(exclude_unset=True) for name, host in hosts.items()}
    every = {"OLLAMA_A": "all", "OLLAMA_B": "all"}
    assert found["h"] == {
        "version": "1.0",
        "environment": every | {"OLLAMA_B": "g", "OLLAMA_C": "g"},
        "allow": ["g"],
        "daemon": {"x": {"y": 1, "z": 2}},
    }
    assert found["r"] == {"environment": {"OLLAMA_B": "all"}, "allow": ["all"], "daemon": {}}
    assert found["f"]["environment"] == {"OLLAMA_Z": "f"}
    assert found["w"] == {}


def test_a_null_in_one_layer_is_not_undone_by_the_order_of_merging(tmp_path: Path) -> None:
    text = (
        "all:\n  vars: {provision_roles: [ollama], ollama: {daemon: {a: 1}}}\n"
        "  children:\n    g: {vars: {ollama: {daemon: ~}}, children: {i: }}\n"
        "    i: {vars: {ollama: {daemon: {b: 2}}}, hosts: {h: }}\n"
    )
    found = fleet_of(tmp_path, text).hosts["h"].settings["ollama"]
    assert isinstance(found, Ollama)
    assert found.daemon == {"b": 2}


def test_models_are_a_mapping_that_groups_add_to_or_a_list(tmp_path: Path) -> None:
    text = (
        "all:\n  vars: {provision_roles: [models], models: {gpt-oss:20b: {}}}\n  children:\n"
        "    g: {hosts: {h: }, vars: {models: {assistant: {from: gpt-oss:20b, parameters: {num_ctx: 16384}}}}}\n"
        "    l: {hosts: {i: }, vars: {models: [one, 2.5]}}\n"
        "    n: {hosts: {j: }, vars: {models: {gpt-oss:20b: }}}\n"
    )
    hosts = fleet_of(tmp_path, text).hosts
    models = {name: host.settings["models"] for name, host in hosts.items()}
    assert isinstance(models["h"], Models) and isinstance(models["h"].root, dict)
    assert list(models["h"].root) == ["gpt-oss:20b", "assistant"]
    assert models["h"].root["assistant"] == Model.model_validate(
        {"from": "gpt-oss:20b", "parameters": {"num_ctx": 16384}}
    )
    assert isinstance(models["i"], Models) and models["i"].root == ["one", "2.5"]
    assert isinstance(models["j"], Models) and models["j"].root == {"gpt-oss:20b": None}


def test_hosts_with_equal_settings_share_them(tmp_path: Path) -> None:
    hosts = fleet_of(tmp_path, LAYERS.replace("hosts: {h: }", 'hosts: {"h[1:3]": }')).hosts
    assert hosts["h1"].settings["ollama"] is hosts["h3"].settings["ollama"]


def test_secrets_are_lazy_and_relative_to_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from a file\n")
    text = (
        "all:\n  hosts: {h: {ansible_password: {secret: cmd:echo from a command}}}\n  vars:\n"
        "    provision_roles: [open_webui]\n"
        "    open_webui: {backends: {group: all}, admin: {email: e, password: {secret: file:pw}},"
        " environment: {A: {secret: cmd:exit 9}, B: 1}}\n"
    )
    host = fleet_of(tmp_path, text).hosts["h"]
    webui = host.settings["open_webui"]
    assert isinstance(webui, WebUI)
    assert webui.admin.password.reveal() == "from a file"
    assert isinstance(webui.environment["A"], Secret) and webui.environment["B"] == "1"
    assert host.connection.password is not None and host.connection.password.reveal() == "from a command"
    assert "from" not in repr(host)


def test_missing_secrets_can_be_overlooked(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {h: {ansible_password: {secret: env:NO}}}}\n")
    with pytest.raises(InputError):
        load(tmp_path / "hosts.yml", SCHEMAS, environ={})
    assert load(tmp_path / "hosts.yml", SCHEMAS, environ={}, need_secrets=False).hosts["h"].connection.password


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("", {"kind": "ssh", "host": "h", "port": None, "user": None, "become": False, "become_method": "sudo"}),
        ("ansible_host: 10.0.0.1, ansible_port: 2222, ansible_user: 1000",
         {"host": "10.0.0.1", "port": 2222, "user": "1000"}),
        ("ansible_ssh_host: x, ansible_ssh_port: '22', ansible_ssh_user: y", {"host": "x", "port": 22, "user": "y"}),
        ("ansible_become: yes, ansible_become_method: su, ansible_become_user: root",
         {"become": True, "become_method": "su"}),
        ("ansible_become: 'False'", {"become": False}),
        ("ansible_connection: local", {"kind": "local"}),
        ("ansible_connection: docker, ansible_host: twin-h", {"kind": "docker", "host": "twin-h"}),
        ("ansible_ssh_private_key_file: keys/id", {"private_key": Path("keys/id")}),
        ("ansible_ssh_common_args: '-J admin@bastion:2222,second -p 23'",
         {"jump": ("admin@bastion:2222", "second"), "port": 23}),
        ("ansible_ssh_common_args: -o ProxyJump=a -oProxyCommand=\"nc %h %p\"",
         {"jump": ("a",), "proxy_command": "nc %h %p"}),
        ("ansible_ssh_extra_args: '-F cfg -i k -o UserKnownHostsFile=/x -o \"HostKeyAlias a\"'",
         {"config_file": Path("cfg"), "private_key": Path("k"),
          "options": ("UserKnownHostsFile=/x", "HostKeyAlias=a")}),
        ("ansible_host: '{{ inventory_hostname }}.{{ domain }}', domain: '{{ site }}.lan', site: x",
         {"host": "h.x.lan"}),
        ("ansible_user: \"{{ groups['all'][0] }}\"", {"user": "h"}),
        ("ansible_user: !unsafe '{{ x }}'", {"user": "{{ x }}"}),
        ("ansible_become: '{{ group_names == [\"ungrouped\"] }}'", {"become": True}),
    ],
)  # fmt: skip
def test_connections(tmp_path: Path, variables: str, expected: dict[str, Any]) -> None:
    host = fleet_of(tmp_path, f"all:\n  hosts:\n    h: {{{variables}}}\n").hosts["h"]
    found = {name: getattr(host.connection, name) for name in expected}
    assert found == {name: tmp_path / value if isinstance(value, Path) else value for name, value in expected.items()}
    assert host.warnings == ()


def test_what_has_no_effect_is_a_warning(tmp_path: Path) -> None:
    text = "all: {hosts: {h: {ansible_ssh_common_args: '-C -o StrictHostKeyChecking=no', ansible_timeout: 3}}}\n"
    assert fleet_of(tmp_path, text).hosts["h"].warnings == (
        "ansible_timeout has no effect here",
        "ssh argument -C has no effect here",
        "ssh argument -o StrictHostKeyChecking=no has no effect here",
    )


@pytest.mark.parametrize(
    ("name", "variables", "address"),
    [
        ("h", "ansible_host: 10.0.0.1", "10.0.0.1"),
        ("h", "ansible_host: 10.0.0.1, address: 192.168.1.1", "192.168.1.1"),
        ("h", "ansible_host: 127.0.0.1", None),
        ("h", "ansible_host: localhost", None),
        ("h", "ansible_host: '::1'", None),
        ("h.lan", "", "h.lan"),
        ("10.0.0.7", "", "10.0.0.7"),
        ("alias_of_ssh_config", "", None),
        ("h.lan", "ansible_connection: local", None),
    ],
)
def test_where_peers_reach_a_host(tmp_path: Path, name: str, variables: str, address: str | None) -> None:
    assert fleet_of(tmp_path, f"all: {{hosts: {{{name}: {{{variables}}}}}}}\n").hosts[name].address == address


def test_roles_keep_their_order_and_artifacts_are_beside_the_inventory(tmp_path: Path) -> None:
    text = "all: {hosts: {h: {provision_roles: [docker, base, models], artifacts: ../build}}}\n"
    host = fleet_of(tmp_path, text).hosts["h"]
    assert host.roles == tuple(host.settings) == ("docker", "base", "models")
    assert host.artifacts == tmp_path / "../build"


def test_hosts_keep_the_order_of_the_file(tmp_path: Path) -> None:
    text = 'all: {children: {z: {children: {y: {hosts: {z9: }}}}, a: {hosts: {"a[2:1:1]": , b: }}}}\n'
    fleet = fleet_of(tmp_path, text.replace("a[2:1:1]", "a[1:2]"))
    assert list(fleet.hosts) == ["z9", "a1", "a2", "b"] == [host.name for host in fleet.match("all")]


def test_what_means_nothing_here_is_listed_and_what_nobody_uses_is_a_warning(tmp_path: Path) -> None:
    text = "all: {hosts: {h: {ntp_server: x}}, vars: {ollama: {port: 1}, region: eu}}\n"
    fleet = fleet_of(tmp_path, text, group_vars__wep="{}", host_vars__h2="{}")
    assert [str(name).rpartition(": ")[2] for name in fleet.foreign] == [
        "'region' means nothing here",
        "'ntp_server' means nothing here",
    ]
    assert [str(warning).removeprefix(f"{tmp_path}/") for warning in fleet.warnings] == [
        "group_vars/wep.yml: there is no group 'wep' in this inventory",
        "host_vars/h2.yml: there is no host 'h2' in this inventory; did you mean 'h'?",
        "hosts.yml:1:43: settings of the role 'ollama', which no host has in provision_roles",
    ]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("gpu1", "there is no host or group 'gpu1'; did you mean 'gpu'?"),
        ("all:!chat", "there is no host or group 'chat'; did you mean 'chat.lan'?"),
        ("x*", "the pattern 'x*' matches no host and no group"),
        ("gpu[7]", "'gpu[7]': 'gpu' has 2 hosts; the first one is [0]"),
        ("~(", "'~(' is not a regular expression"),
        ("~[", "the pattern '~[' has a bracket without its other half"),
        ("gpu[0", "the pattern 'gpu[0' has a bracket without its other half"),
        (" , ", "the pattern ' , ' names no host; use `all` for every host"),
    ],
)
def test_a_pattern_that_names_nothing_says_what_was_meant(tmp_path: Path, pattern: str, message: str) -> None:
    fleet = fleet_of(tmp_path, 'gpu: {hosts: {"gpu[01:02].lan": }}\nweb: {hosts: {chat.lan: }}\n')
    with pytest.raises(InputError) as caught:
        fleet.match(pattern)
    assert str(caught.value).startswith(message)


def test_members_of_a_name(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, 'gpu: {hosts: {"gpu[01:02]": }}\n')
    assert [host.name for host in fleet.members("gpu")] == ["gpu01", "gpu02"]
    assert [host.name for host in fleet.members("gpu02")] == ["gpu02"]
    with pytest.raises(InputError, match="did you mean 'gpu01'"):
        fleet.members("gpo01")


def test_a_broken_schema_of_a_role_is_one_mistake_among_others(tmp_path: Path) -> None:
    class Broken(dict[str, type[BaseModel]]):
        def __getitem__(self, name: str) -> type[BaseModel]:
            raise InputError("roles/odd.py: broken")

    (tmp_path / "hosts.yml").write_text("all: {hosts: {h: {provision_roles: [odd]}}}\n")
    with pytest.raises(InputError, match="broken"):
        load(tmp_path / "hosts.yml", Broken(odd=BaseModel))


def test_a_thousand_hosts_load_within_a_second(tmp_path: Path) -> None:
    hosts = "".join(
        f"        host{n:04}.lan:\n          ansible_host: 10.0.{n // 250}.{n % 250}\n"
        f"          ollama: {{port: {11000 + n}}}\n"
        for n in range(1000)
    )
    text = (
        "all:\n  vars:\n    provision_roles: [base, ollama, models]\n    ansible_user: admin\n"
        "    ollama: {version: 0.32, environment: {OLLAMA_A: 1}}\n    models: {a: {}, b: {from: a}}\n"
        f"  children:\n    gpu:\n      vars: {{ollama: {{listen: lan}}}}\n      hosts:\n{hosts}"
    )
    fleet_of(tmp_path, text)
    times = []
    for _ in range(3):
        began = time.process_time()
        fleet = load(tmp_path / "hosts.yml", SCHEMAS)
        times.append(time.process_time() - began)
    assert len(fleet.hosts) == 1000
    assert min(times) <= 1.0


def test_which_inventory_is_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no inventory here"):
        find_inventory(None, tmp_path)
    (tmp_path / "inventory").mkdir()
    office = tmp_path / "inventory" / "office.yml"
    office.touch()
    assert find_inventory(None, tmp_path) == office
    (tmp_path / "inventory" / "lab.yml").touch()
    with pytest.raises(InputError, match="several inventories here"):
        find_inventory(None, tmp_path)
    assert find_inventory(tmp_path / "inventory") == tmp_path / "inventory"
    (tmp_path / "inventory.yml").touch()
    assert find_inventory(None, tmp_path) == tmp_path / "inventory.yml"
    with pytest.raises(InputError, match="no such file"):
        find_inventory(tmp_path / "other.yml")
