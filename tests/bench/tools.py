"""The tools that are compared: each gets the same state for the same hosts, and says how its run is started."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provision.engine.declare import Declarer
from provision.engine.plan import question
from provision.engine.reach import Reach
from provision.inventory import load
from provision.roles import RoleSchemas
from tests.bench.cost import BenchError, Command
from tests.bench.stage import Stage
from tests.lab import images
from tests.lab.cache import made, recipe_hash
from tests.lab.cli import ROOT, Office

HERE = Path(__file__).parent
PACKAGES = {"ansible": ("ansible-core",), "mitogen": ("ansible-core", "mitogen"), "pyinfra": ("pyinfra",)}
FORKS = 10
_GONE = "rm -rf /etc/office /srv/office /var/log/office"


@dataclass(frozen=True)
class Peers:
    """The programs that are compared with ours, each in a virtual environment of its own."""

    folder: Path

    @classmethod
    def installed(cls) -> "Peers":
        """Install them where they are missing; they stay in the lab's cache."""

        def build(folder: Path) -> None:
            for name, packages in PACKAGES.items():
                subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
                pip = [str(folder / name / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
                subprocess.run(pip, check=True)

        return cls(made("bench-peers", recipe_hash(str(PACKAGES), sys.version), build))

    def program(self, venv: str, name: str) -> tuple[str, ...]:
        """A program of a virtual environment. (They are made under another name: scripts' first lines are stale.)"""
        return (str(self.folder / venv / "bin" / "python"), str(self.folder / venv / "bin" / name))

    def versions(self) -> dict[str, str]:
        """Package -> version."""
        found: dict[str, str] = {}
        for venv, packages in PACKAGES.items():
            code = f"import importlib.metadata as m; print(*[m.version(p) for p in {packages!r}])"
            words = [str(self.folder / venv / "bin" / "python"), "-c", code]
            ran = subprocess.run(words, capture_output=True, text=True, check=True)
            found |= dict(zip(packages, ran.stdout.split(), strict=True))
        return found


class Desk:
    """Where the tools are run from: their inventories for some hosts, reached at ports of 127.0.0.1.

    Args:
        folder: made.
        peers: the other tools.
        stage: the hosts.
        ports: host name -> port.
    """

    def __init__(self, folder: Path, peers: Peers, stage: Stage, ports: Mapping[str, int]) -> None:
        self.folder, self.peers, self.stage, self.ports = folder, peers, stage, dict(ports)
        shutil.copytree(HERE / "office", folder)
        for file in (path for path in (HERE / "peers").iterdir() if path.is_file()):
            shutil.copy(file, folder)
        (folder / "files" / "found").mkdir()
        for name, content in stage.found.items():
            (folder / "files" / "found" / name).write_bytes(content)
        self.office = Office(folder, variables=dict(stage.office.variables))
        self.office.variables["ansible_ssh_common_args"] = f"-o UserKnownHostsFile={self.office.known_hosts}"
        keys = [stage.office.known_hosts.read_text().splitlines()[number].split()[1:] for number in range(len(ports))]
        self.known = dict(zip(ports, keys, strict=True))
        lines = [f"[127.0.0.1]:{port} {' '.join(self.known[name])}\n" for name, port in ports.items()]
        self.office.known_hosts.write_text("".join(lines))
        for name, port in ports.items():
            self.office.hosts[name] = {"ansible_host": "127.0.0.1", "ansible_port": port}
        self.greet("Welcome")

    def greet(self, greeting: str) -> None:
        """Write all inventories; the greeting stands in one template."""
        self.office.variables["office"] = {"greeting": greeting}
        self.office.write()
        common = {key: value for key, value in self.office.variables.items() if key.startswith("ansible_")}
        hosts = {name: dict(where) for name, where in self.office.hosts.items()}
        everything: dict[str, Any] = {"all": {"hosts": hosts, "vars": common | {"greeting": greeting}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(everything))
        known = str(self.office.known_hosts)
        data = {"ssh_hostname": "127.0.0.1", "ssh_user": "admin", "ssh_key": str(images.key())}
        data |= {"ssh_known_hosts_file": known, "ssh_strict_host_key_checking": "yes", "greeting": greeting}
        listed = [(name, data | {"ssh_port": port, "_sudo": True}) for name, port in self.ports.items()]
        (self.folder / "inventory.py").write_text(f"hosts = {listed!r}\n")

    def tools(self, part: str = "site") -> dict[str, Command]:
        """Name -> the run that brings the hosts to their state.

        Args:
            part: `site`, all of it, or `small`.
        """
        return {
            "provision": self.provision(*(("--roles", "office") if part == "small" else ())),
            "pyinfra": Command(
                (*self.peers.program("pyinfra", "pyinfra"), "-y", "inventory.py", f"{part}.py"),
                self.folder,
                {},
                _pyinfra,
            ),
            "ansible + mitogen": self._ansible(part, "mitogen", self._mitogen()),
            "ansible": self._ansible(part, "ansible", {}),
        }

    def provision(self, *words: str, verb: str = "apply") -> Command:
        """Our own."""
        environ = self.office.environment()
        return Command(
            (sys.executable, "-m", "provision", verb, "-i", "inventory.yml", *words), self.folder, environ, _provision
        )

    def floor(self) -> Command:
        """One script, as ours makes it, and nothing else."""
        job = self.folder / "floor.json"
        hosts = [(port, self.known[name][1]) for name, port in self.ports.items()]
        probing = script(self.folder / "inventory.yml", next(iter(self.ports)))
        job.write_text(json.dumps({"hosts": hosts, "key": str(images.key()), "script": probing}))
        return Command((sys.executable, "-m", "tests.bench.floor", str(job)), ROOT)

    def login(self) -> Command:
        """`ssh host true`, to the first of the hosts."""
        known = f"UserKnownHostsFile={self.office.known_hosts}"
        port = str(next(iter(self.ports.values())))
        words = ("ssh", "-F", "none", "-i", str(images.key()), "-o", known, "-p", port, "admin@127.0.0.1", "true")
        return Command(words, self.folder)

    def forget(self) -> None:
        """Take the small part away from all hosts."""
        for host in self.stage.hosts[: len(self.ports)]:
            host.check(_GONE)

    def _ansible(self, part: str, venv: str, environ: Mapping[str, str]) -> Command:
        own = {
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_FORKS": str(max(FORKS, min(25, len(self.ports)))),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=20s",
            # The default where it is not found otherwise; a warning for every host costs as much as a task.
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        }
        words = (*self.peers.program(venv, "ansible-playbook"), "-i", "hosts.yml", f"{part}.yml")
        return Command(words, self.folder, own | dict(environ), _ansible)

    def _mitogen(self) -> dict[str, str]:
        found = next(
            (self.peers.folder / "mitogen" / "lib").glob("python*/site-packages/ansible_mitogen/plugins/strategy")
        )
        return {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(found)}


def _provision(out: str) -> int:
    return sum(int(number) for number in re.findall(r"^\S+ +(\d+) changed", out, re.MULTILINE))


def _ansible(out: str) -> int:
    return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", out))


def _pyinfra(out: str) -> int:
    found = re.findall(r"^\s*Grand total.*$", re.sub(r"\x1b\[[0-9;]*m", "", out), re.MULTILINE)
    if not found:
        raise BenchError(f"pyinfra printed no total: {out[-2000:]}")
    changed = found[-1].split()[3]
    return 0 if changed == "-" else int(changed)


def script(inventory: Path, name: str) -> str:
    """The probes of all that is declared on a host, as the engine sends them."""
    fleet = load(inventory, RoleSchemas(inventory))
    reach = Reach(fleet)
    try:
        declared = Declarer(fleet, reach).declare(fleet.hosts[name], reach.host(name).identity)
    finally:
        reach.close()
    return question(declared, declared.resources).text
