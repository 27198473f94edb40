"""A server of any family as most are: the roles base, docker, ollama and models, with the lab's artefacts."""

import re
from pathlib import Path

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab


def office_of(folder: Path, lab: Lab, host: LabHost, name: str) -> Office:
    """The inventory of one host, which is not applied yet."""
    office = Office(folder)
    roles = ["base", "docker", "ollama", "models"]
    office.add(host, name, provision_roles=roles, artifacts=str(lab.artifacts))
    office.variables["base"] = {"packages": ["jq"]}
    office.variables["ollama"] = {
        "version": "0.9.3",
        "allow_vulnerable": True,
        "listen": "lan",
        "allow_networks": ["10.0.0.0/8"],
    }
    office.variables["models"] = {"tiny": {"gguf": str(lab.artifacts / "tiny.gguf")}}
    if host.suite == "rocky":
        shown = host.check("gpg --show-keys --with-colons /srv/lab/docker-ce/centos/gpg")
        fingerprint = re.search(r"^fpr:+([0-9A-F]{40}):", shown, re.MULTILINE)
        assert fingerprint
        office.hosts[name]["docker"] = {"repository": "file:///srv/lab/docker-ce", "fingerprint": fingerprint[1]}
    return office
