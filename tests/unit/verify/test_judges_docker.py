"""Judges of the Docker engine, containers and volumes: `docker inspect` as it answered on a lab host, shortened."""

import json
from dataclasses import replace
from typing import Any

import pytest

from provision.resources.base import Section
from provision.resources.container import Container, Mount, Port
from provision.resources.image import Image
from provision.resources.volume import Volume
from provision.verify.check import Check, judged
from provision.verify.checks.docker import Containers, ContainerSettings, DockerDaemon, Volumes
from provision.verify.checks.secrets import ContainerSecrets

LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}
DOCKER = DockerDaemon(
    {
        **LOGS,
        "live-restore": True,
        "registry-mirrors": ["https://m.lan"],
        "insecure-registries": ["http://r.lan:5000", "10.0.0.0/8"],
        "runtimes": {"nvidia": {}},
    }
)
REGISTRIES = {
    "IndexConfigs": {"docker.io": {"Secure": True}, "r.lan:5000": {"Secure": False}},
    "InsecureRegistryCIDRs": ["10.0.0.0/8", "127.0.0.0/8"],
    "Mirrors": ["https://m.lan/"],
}
ONE = Container(
    "chat",
    "image:1",
    env={"PORT": "8080"},
    mounts=(Mount("/data", "chat"), Mount("/run/provision", "/etc/provision", "bind", read_only=True)),
    ports=(Port(8080, 80, "0.0.0.0"),),
    labels={"provision.files": "abc"},
)
BARE = Container("chat", "image:1", env={"PORT": "8080"})
RUNNING = Containers(("chat",))
CONTAINERS = ContainerSettings((ONE,), LOGS)
IMAGE = {"Id": "sha256:aa", "RepoTags": ["image:1"], "Config": {"Env": ["PATH=/bin"]}}
PINNED = ContainerSettings((Container("chat", Image("image:1", digest="sha256:ff")),))
SECRETS = ContainerSecrets(("correct-horse",))
VOLUMES = Volumes((Volume("chat"),))


def daemon(ages: str = "9000.5 8900000000 1700000000 0 1699998000", file: Any = None, **changed: Any) -> str:
    """What the question of the engine prints."""
    info = {
        "LoggingDriver": "json-file",
        "LiveRestoreEnabled": True,
        "ServerVersion": "26",
        "Runtimes": {"nvidia": {}},
        "RegistryConfig": REGISTRIES,
    }
    return (
        f"{ages}\ninfo {json.dumps(info | changed)}\n{json.dumps(DOCKER.wanted if file is None else file, indent=1)}\n"
    )


def container(one: Container = ONE, **changed: Any) -> str:
    """What the question of containers prints: keys as `Config__Env` are changed."""
    item: dict[str, Any] = {
        "Name": f"/{one.name}",
        "Image": "sha256:aa",
        "State": {"Status": "running", "Health": {"Status": "healthy"}},
        "HostConfig": {
            "RestartPolicy": {"Name": "unless-stopped"},
            "NetworkMode": "bridge",
            "PortBindings": {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}]} if one.ports else {},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
        "Mounts": [
            {"Type": "volume", "Name": "chat", "Destination": "/data", "RW": True},
            {"Type": "bind", "Source": "/etc/provision", "Destination": "/run/provision", "RW": False},
            {"Type": "volume", "Name": "f" * 64, "Destination": "/image's own", "RW": True},
        ],
        "Config": {
            "Env": ["PORT=8080", "PATH=/bin"],
            "Labels": {"provision.spec": one.hash(), "provision.files": "abc"},
        },
    }
    for key, value in changed.items():
        place, *rest = key.split("__")
        if rest:
            item[place] = {**item[place], rest[0]: value}
        else:
            item[place] = value
    return f"container {json.dumps(item)}\nimage {json.dumps(IMAGE)}\n"


BIND = {"Type": "bind", "Source": "/", "Destination": "/host", "RW": True}
MOUNTS = json.loads(container().splitlines()[0].partition(" ")[2])["Mounts"]

PASSES = [
    (DOCKER, daemon()),
    (DOCKER, daemon(file={**DOCKER.wanted, "debug": True})),
    # Reloaded by us after the file was changed.
    (DOCKER, daemon(ages="9000.5 7000000000 1700000000 1699999990 1699999900")),
    (CONTAINERS, container()),
    (RUNNING, container()),
    (RUNNING, container(State={"Status": "running"})),
    (SECRETS, "end\n"),
    (ContainerSettings((BARE,)), container(BARE, Mounts=[])),
    (VOLUMES, "there chat\nend\n"),
]

GPUS = replace(DOCKER, gpus=True)

FAILS = [
    (GPUS, daemon(ServerVersion="26.1.5"), "CDI is off"),
    (DOCKER, daemon(LoggingDriver="journald"), 'log-driver is "journald", not "json-file"'),
    (DOCKER, daemon(LiveRestoreEnabled=False), "live-restore is false, not true"),
    (DOCKER, daemon(RegistryConfig=None), 'registry-mirrors is null, not ["https://m.lan"]'),
    (DOCKER, daemon(RegistryConfig={**REGISTRIES, "IndexConfigs": {}}), "does not talk to r.lan:5000 without TLS"),
    (DOCKER, daemon(RegistryConfig={**REGISTRIES, "InsecureRegistryCIDRs": []}), "does not talk to 10.0.0.0/8 without"),
    (DOCKER, daemon(Runtimes={}), "the engine has no runtime nvidia"),
    (
        DOCKER,
        daemon(file={**DOCKER.wanted, "log-opts": {"max-file": "3"}}),
        'has log-opts {"max-file": "3"}, not {"max',
    ),
    (DOCKER, daemon(file={"debug": True}), "daemon.json has log-driver null"),
    (
        DOCKER,
        daemon(ages="9000.5 7000000000 1700000000 0 1699999900"),
        "the engine started before /etc/docker/daemon.json was changed",
    ),
    (DOCKER, daemon(ServerErrors=["no daemon"]), "the engine does not answer: no daemon"),
    (DOCKER, "1 1\n", "cannot be asked"),
    (DOCKER, f"1 1 1 1 1\n{json.dumps(DOCKER.wanted)}\n", "cannot be asked: the engine gave no answer"),
    (CONTAINERS, f"image {json.dumps(IMAGE)}\n", "chat is missing"),
    (CONTAINERS, "Cannot connect to the Docker daemon\n", "cannot be asked: Cannot connect"),
    (RUNNING, f"image {json.dumps(IMAGE)}\n", "chat is missing"),
    (RUNNING, 'container {"message": "No such container: chat"}\n', "chat is missing"),
    (RUNNING, 'container {"message": "server error"}\n', "cannot be asked: server error"),
    (RUNNING, "Cannot connect to the Docker daemon\n", "cannot be asked: Cannot connect"),
    (SECRETS, "/chat\nend\n", "a secret stands in docker inspect /chat"),
    (SECRETS, "", "cannot be asked"),
    (RUNNING, container(State={"Status": "exited"}), "chat is exited"),
    (RUNNING, container(State={"Status": "running", "Health": {"Status": "unhealthy"}}), "chat is unhealthy"),
    (CONTAINERS, container(HostConfig__RestartPolicy={"Name": "no"}), "restart policy no, not unless-stopped"),
    (CONTAINERS, container(HostConfig__NetworkMode="host"), "is in the network host, not bridge"),
    (CONTAINERS, container(HostConfig__PortBindings={}), "does not publish 8080/tcp at 0.0.0.0:80"),
    (
        CONTAINERS,
        container(HostConfig__PortBindings={"1/tcp": [{"HostIp": "", "HostPort": "1"}]}),
        "publishes 1/tcp at 0.0.0.0:1, which is not declared",
    ),
    (CONTAINERS, container(HostConfig__LogConfig={"Type": "none"}), "logs by none, not json-file: it is older"),
    (
        CONTAINERS,
        container(HostConfig__LogConfig={"Type": "json-file"}),
        "chat logs without max-file=3, max-size=10m: it is older than that setting; remove the container",
    ),
    (CONTAINERS, container(Mounts=MOUNTS[1:]), "has nothing mounted at /data"),
    (
        CONTAINERS,
        container(Mounts=[{**MOUNTS[0], "Name": "b"}, *MOUNTS[1:]]),
        "has volume b mounted at /data, not volume",
    ),
    (CONTAINERS, container(Mounts=[MOUNTS[0], {**MOUNTS[1], "RW": True}]), "has /run/provision mounted writable"),
    (CONTAINERS, container(Mounts=[*MOUNTS, BIND]), "has bind / mounted at /host, which is not declared"),
    (CONTAINERS, container(Config__Labels={}), "was not made by provision"),
    (CONTAINERS, container(Config__Labels={"provision.spec": "x"}), "was made from another specification"),
    (CONTAINERS, container(Config__Labels={"provision.spec": ONE.hash()}), "another label provision.files"),
    (CONTAINERS, container(Config__Env=["PORT=1"]), "runs with another PORT than declared"),
    (CONTAINERS, container(Config__Env=["PORT=8080", "SPY=1"]), "runs with SPY, which is not declared"),
    (CONTAINERS, container(Image="sha256:bb"), "runs another image than image:1 is now"),
    (CONTAINERS, container().splitlines()[0], "has no image image:1 any more"),
    (PINNED, container(PINNED.containers[0], Mounts=[]), "runs image:1 with another digest than sha256:ff"),
    (VOLUMES, "end\n", "missing: chat"),
    (VOLUMES, "", "cannot be asked"),
]


@pytest.mark.parametrize(("check", "out"), PASSES)
def test_what_is_as_declared_passes(check: Check, out: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("check", "out", "cause"), FAILS)
def test_what_is_wrong_fails_with_its_cause(check: Check, out: str, cause: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "failed"
    assert cause in verdict.message
