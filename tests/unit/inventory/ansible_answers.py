"""Run by the tests as a child process: says what ansible-core makes of inventories.

Reads one JSON object a line, `{"path": ..., "patterns": [...]}`; answers one a line, with each host's variables and
groups as `ansible-inventory --list` has them. One start of Ansible serves hundreds of inventories.
"""

import json
import sys
from typing import Any


def answer(question: dict[str, Any]) -> dict[str, Any]:
    from ansible import constants
    from ansible.errors import AnsibleError
    from ansible.inventory.helpers import sort_groups
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.manager import VariableManager

    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[question["path"]])
    variables = VariableManager(loader=loader, inventory=inventory)
    hosts = {}
    for host in inventory.get_hosts("all"):
        found = variables.get_vars(host=host, include_hostvars=False, stage="all")
        own = {name: value for name, value in found.items() if name not in constants.INTERNAL_STATIC_VARS}
        hosts[host.name] = {"vars": own, "groups": [group.name for group in sort_groups(host.get_groups())]}
    matches = {}
    for pattern in question.get("patterns", []):
        try:
            matches[pattern] = [host.name for host in inventory.get_hosts(pattern)]
        except AnsibleError:
            matches[pattern] = []
    return {"hosts": hosts, "matches": matches}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line)), default=str) + "\n")
        sys.stdout.flush()
