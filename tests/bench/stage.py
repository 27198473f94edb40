"""The servers of the bench: one is provisioned, the others are copies of it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cost import say
from tests.lab.cli import Office
from tests.lab.hosts import LabHost, owner
from tests.lab.machine import client
from tests.lab.prepare import Lab
from tests.lab.rootfs import rootfs
from tests.lab.seeds import copy_volume
from tests.lab.wait import until

HERE = Path(__file__).parent
ROLES = ["base", "docker", "ollama", "models", "app", "office"]
# What Ansible wants on a server; no other tool does.
PEERS_WANT = "python3-minimal python3-apt"
FOUND = (
    "/etc/docker/daemon.json",
    "/etc/systemd/system/ollama.service",
    "/etc/systemd/system/ollama.service.d/zz-provision.conf",
)


@dataclass
class Stage:
    """Servers that are as declared, and the office that declares them.

    Attributes:
        hosts: the servers, all alike.
        office: of all of them, `web01` and on.
        found: the files that our roles wrote, for the peers: name -> content.
    """

    hosts: list[LabHost]
    office: Office
    found: dict[str, bytes]

    def names(self, count: int) -> list[str]:
        """The first so many."""
        return list(self.office.hosts)[:count]


@contextmanager
def stage(lab: Lab, folder: Path, count: int) -> Iterator[Stage]:
    """Make `count` servers; they are removed at the end."""
    with ExitStack() as stack:
        volume = f"provision-lab-bench-{owner_name()}"
        client().volumes.create(volume, labels=owner())
        first = LabHost.start(volume=volume)
        stack.callback(first.remove)
        say("one server is provisioned")
        first.check(
            f"apt-get install -qq -y --no-install-recommends docker.io docker-cli iptables {PEERS_WANT}", timeout=600
        )
        first.put("/root/app.tar", rootfs("app"))
        first.check("docker import /root/app.tar office/app:1")
        office = _office(lab, folder / "first", [("web01", first)])
        office.check("apply", timeout=900)
        found = {path.rpartition("/")[2]: first.check(f"cat {path}").encode() for path in FOUND}
        hosts = [first]
        if count > 1:
            say(f"{count - 1} copies of it")
            image = _image_of(first, stack)
            for _ in range(count - 1):
                copied = f"{volume}-{len(hosts)}"
                copy_volume(volume, copied, owner())
                hosts.append(LabHost.start(image=image, volume=copied, wait=False))
                stack.callback(hosts[-1].remove)
            first.check("systemctl start containerd docker ollama")
        for host in hosts:
            host.wait_for_ssh()
        for host in hosts:
            until(lambda host=host: host.exec(_SETTLED).rc == 0, f"{host.name}: all services run", 180)  # type: ignore[misc]
        whole = _office(lab, folder / "all", [(f"web{number:02}", host) for number, host in enumerate(hosts, 1)])
        whole.check("apply", "--forks", "2", timeout=900)
        yield Stage(hosts, whole, found)


_SETTLED = "curl -sf http://127.0.0.1:11434/api/version && [ \"$(docker inspect -f '{{.State.Running}}' app)\" = true ]"


def _office(lab: Lab, folder: Path, hosts: list[tuple[str, LabHost]]) -> Office:
    shutil.copytree(HERE / "office", folder)
    office = Office(folder)
    for name, host in hosts:
        office.add(host, name)
    tiny = str(lab.artifacts / "tiny.gguf")
    office.variables |= {
        "provision_roles": ROLES,
        "artifacts": str(lab.artifacts),
        "ollama": {"version": "0.9.3", "allow_vulnerable": True},
        "models": {"tiny": {"gguf": tiny}, "assistant": {"from": "tiny", "system": "You are short."}},
    }
    return office


def _image_of(host: LabHost, stack: ExitStack) -> str:
    """An image of the provisioned server; its volume is copied apart. Its services are stopped for that."""
    host.check("systemctl stop ollama docker.socket docker containerd")
    image = f"provision-lab/bench:{owner_name()}"
    host.container.commit("provision-lab/bench", owner_name())
    stack.callback(client().images.remove, image, force=True)
    return image


def owner_name() -> str:
    """This process, as a part of names."""
    return next(iter(owner().values())).replace(":", "-")
