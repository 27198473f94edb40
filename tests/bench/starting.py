"""What is done before any host is contacted: the help, and the check of inventories."""

from collections.abc import Iterator

import yaml

from tests.bench.bench import Bench
from tests.bench.cost import Command, interleaved, say
from tests.bench.table import Row, rows
from tests.lab.cli import ROOT

HOSTS = 1000


def measure(bench: Bench) -> Iterator[Row]:
    """`--help`, and `check` of the example of an office and of a thousand hosts."""
    say("help and check")
    many = bench.folder / "many.yml"
    group = {f"g{number}": {"hosts": {f"g{number}[001:100].office.lan": None}} for number in range(HOSTS // 100)}
    variables = {"ansible_user": "admin", "provision_roles": ["base", "docker", "ollama", "models"], "models": ["tiny"]}
    many.write_text(yaml.safe_dump({"all": {"vars": variables, "children": group}}))
    words = (bench.python, "-m", "provision")
    environ = {"WEBUI_ADMIN_PASSWORD": "none"}
    commands = {
        "python -c pass": Command((bench.python, "-c", "pass"), ROOT),
        "provision --help": Command((*words, "--help"), ROOT),
        "provision check, the office": Command((*words, "check", "-i", "inventory/office.yml"), ROOT, environ),
        f"provision check, {HOSTS} hosts": Command((*words, "check", "-i", str(many)), ROOT),
    }
    yield from rows("no host", interleaved(commands, {"": 5}))
