"""Images, volumes, networks and containers on a host's own Docker engine, over SSH."""

import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine.script import probes
from provision.errors import ResourceFailed
from provision.resources import container_swap
from provision.resources.base import Resource, Section
from provision.resources.container import Container, Health, Mount, Port
from provision.resources.docker_cli import REPLACES, Found
from provision.resources.image import Image
from provision.resources.network import Network
from provision.resources.volume import Volume
from provision.values import Secret
from tests.lab.applying import Applier, actions
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab
from tests.lab.reached import Desk
from tests.lab.registry import Fault, Registry
from tests.lab.registry import registry as serving
from tests.lab.rootfs import rootfs
from tests.lab.wait import until

SLEEP = Container("web", "tiny:1", command=("sleep", "1000"), stop_timeout=1, wait=30)


@pytest.fixture(scope="module")
def docker(lab: Lab) -> Iterator[LabHost]:
    host = LabHost.start()
    host.check("apt-get install -y --no-install-recommends --no-download docker.io docker-cli iptables zstd")
    for tag in ("1", "2"):
        host.put(f"/root/{tag}.tar", rootfs(tag))
    import_images(host)
    yield host
    host.remove()


def import_images(host: LabHost) -> None:
    """`tiny:1` and `tiny:2`, where they are missing."""
    for tag in ("1", "2"):
        made = f"docker import -c 'VOLUME /anonymous' /root/{tag}.tar tiny:{tag}"
        host.check(f"docker image inspect tiny:{tag} >/dev/null 2>&1 || {made}")


@pytest.fixture
def applier(docker: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Applier]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield Applier(docker, Desk.at(tmp_path / "desk").knows(docker))
    docker.check("docker ps -aq | xargs -r docker rm -f -v; docker volume ls -q | xargs -r docker volume rm -f")
    docker.check("docker network prune -f; docker images -q office/web | sort -u | xargs -r docker rmi -f")
    docker.check("rm -rf /var/lib/provision")
    import_images(docker)


def containers(host: LabHost) -> dict[str, str]:
    lines = host.check("docker ps -a --format '{{.Names}} {{.State}}'").splitlines()
    return dict(line.split(" ", 1) for line in lines)


# In its place in the path, the docker program tells that it was started.
_TOLD = '#!/bin/sh\necho docker >>/root/told\nexec /usr/bin/docker "$@"\n'


def test_asked_together_they_are_what_the_docker_program_says(applier: Applier, docker: LabHost) -> None:
    env = {"TEXT": 'two\nlines "Status":"running"'}
    running, ended = replace(SLEEP, env=env), replace(SLEEP, name="ended")
    missing: list[Resource] = [Container("none", "tiny:none"), Volume("none"), Network("nonet"), Image("lan:5000/no:1")]
    there: list[Resource] = [running, ended, Volume("data"), Network("ai"), Image("tiny:1", tags=("tiny:2",))]
    applier.apply(*there[:4])
    docker.check("docker kill ended")
    docker.put("/root/tools/docker", _TOLD.encode(), 0o755)

    def ask(fragments: dict[str, str], environ: str = "") -> dict[str, Section]:
        script = probes(fragments)
        docker.put("/root/script", script.text.encode())
        return script.parse(docker.check(f"{environ} PATH=/root/tools:$PATH sh /root/script").encode())

    wanted = {one.id: one for one in (*there, *missing)}
    fragments = {name: one.probe() for name, one in wanted.items()}
    together = ask(fragments)
    told = docker.check("cat /root/told").splitlines()
    # The last lines of the one that ended are still the program's.
    assert told == ["docker"]
    alone = ask({name: str(probe) for name, probe in fragments.items()})
    elsewhere = ask(fragments, "DOCKER_HOST=tcp://127.0.0.1:9")
    docker.check("rm -r /root/tools")
    for name, one in wanted.items():
        found, same, none = (one.observe(answer[name]) for answer in (together, alone, elsewhere))
        assert isinstance(found, Found)
        kinds = {kind for kind, _ in (*found.objects, *same.objects)}
        assert {kind: found.of(kind) for kind in kinds} == {kind: same.of(kind) for kind in kinds}, name
        assert found.complaint == same.complaint == ""
        assert bool(found.objects) == (one in there)
        assert "127.0.0.1:9" in none.complaint
    docker.check("systemctl stop docker.socket docker")
    stopped = ask(fragments)
    docker.check("systemctl start docker.socket docker")
    assert all("Cannot connect to the Docker daemon" in one.observe(stopped[one.id]).complaint for one in there)


def test_what_was_made_stays_until_something_changes(applier: Applier, docker: LabHost) -> None:
    wanted = (Network("ai", subnet="10.99.0.0/24"), Volume("data"), replace(SLEEP, network="ai"))
    assert actions(applier.apply(*wanted)) == ["create network:ai", "create volume:data", "create container:web"]
    assert actions(applier.apply(*wanted)) == []
    address = docker.check("docker inspect -f '{{.NetworkSettings.Networks.ai.IPAddress}}' web")
    assert address.startswith("10.99.0.")


def test_a_container_gets_all_that_is_declared(applier: Applier, docker: LabHost) -> None:
    docker.put("/etc/app/index.html", b"hello")
    web = Container(
        "web",
        "tiny:1",
        env={"COLOR": "blue", "KEY": Secret.of("s3cret")},
        mounts=(Mount("/www", "/etc/app", "bind", read_only=True), Mount("/data", "data"), Mount("/tmp", kind="tmpfs")),
        ports=(Port(8080, 18080),),
        restart="always",
        extra_hosts={"host.docker.internal": "host-gateway", "db": "10.0.0.9"},
        command=("httpd", "-f", "-p", "8080", "-h", "/www"),
        user="1000",
        hostname="webhost",
        cap_drop=("ALL",),
        security=("no-new-privileges",),
        read_only=True,
        health=Health(("cat", "/www/index.html"), interval=1),
        labels={"team": "office"},
        wait=30,
    )
    applier.apply(web)
    assert docker.check("curl -sS http://127.0.0.1:18080/index.html") == "hello"
    found = json.loads(docker.check("docker inspect web"))[0]
    config, runtime = found["Config"], found["HostConfig"]
    assert {"COLOR=blue", "KEY=s3cret"} <= set(config["Env"])
    assert runtime["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}
    assert runtime["RestartPolicy"]["Name"] == "always"
    assert sorted(runtime["ExtraHosts"]) == ["db:10.0.0.9", "host.docker.internal:host-gateway"]
    assert (config["User"], config["Hostname"], runtime["ReadonlyRootfs"]) == ("1000", "webhost", True)
    assert (runtime["CapDrop"], runtime["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert config["Labels"]["team"] == "office"
    assert found["State"]["Health"]["Status"] == "healthy"
    assert "s3cret" not in json.dumps(config["Labels"])
    assert applier.plan(web).changes == ()


def test_a_changed_container_is_replaced_and_keeps_its_volumes(applier: Applier, docker: LabHost) -> None:
    first = replace(SLEEP, mounts=(Mount("/data", "data"),), env={"A": "1"})
    applier.apply(first)
    docker.check("docker exec web touch /data/named /anonymous/nameless")
    (change,) = applier.plan(replace(first, env={"A": "2"})).changes
    assert (change.why, change.before, change.after) == ("env changed", {"env": {"A": "1"}}, {"env": {"A": "2"}})
    assert actions(applier.apply(replace(first, env={"A": "2"}))) == ["replace container:web"]
    docker.check("docker exec web cat /data/named /anonymous/nameless")
    assert docker.check("docker exec web env").count("A=2") == 1
    assert containers(docker) == {"web": "running"}


def test_one_that_does_not_stay_up_is_taken_back(applier: Applier, docker: LabHost) -> None:
    applier.apply(SLEEP)
    before = docker.check("docker inspect -f '{{.Id}}' web")
    with pytest.raises(ResourceFailed, match=r"again and again \(exit status 3\); its last lines: no database"):
        applier.apply(replace(SLEEP, command=("sh", "-c", "echo no database; exit 3")))
    assert docker.check("docker inspect -f '{{.Id}}' web") == before
    assert containers(docker) == {"web": "running"}
    assert docker.check("docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' web").strip() == "unless-stopped"
    assert applier.plan(SLEEP).changes == ()


def test_one_that_does_not_get_healthy_is_taken_back(applier: Applier, docker: LabHost) -> None:
    applier.apply(SLEEP)
    with pytest.raises(ResourceFailed, match="unhealthy: no answer"):
        applier.apply(replace(SLEEP, health=Health("echo no answer; false", interval=1, retries=1)))
    assert applier.plan(SLEEP).changes == ()


def test_a_taken_port_leaves_the_old_one_running(applier: Applier, docker: LabHost) -> None:
    applier.apply(SLEEP, replace(SLEEP, name="other", ports=(Port(80, 18081),)))
    with pytest.raises(ResourceFailed, match=r"container:web: .*18081"):
        applier.apply(replace(SLEEP, ports=(Port(80, 18081),)))
    assert containers(docker) == {"web": "running", "other": "running"}


@pytest.mark.parametrize("reached", ["stopped", "parked", "made", "started"])
def test_an_interrupted_replacement_is_finished_by_the_next_run(
    applier: Applier, docker: LabHost, reached: str
) -> None:
    old, new = SLEEP, replace(SLEEP, env={"A": "2"})
    applier.apply(old)
    docker.check("docker exec web touch /anonymous/nameless")
    identity = docker.check("docker inspect -f '{{.Id}}' web").strip()
    volume = docker.check("docker inspect -f '{{(index .Mounts 0).Name}}' web").strip()
    docker.check("docker update --restart no web; docker stop -t 0 web")
    if reached != "stopped":
        docker.check(f"docker rename web {container_swap.parked('web')}")
    if reached in ("made", "started"):
        labels = f"--label provision.spec={new.hash()} --label {REPLACES}={identity}"
        # As an interrupted run makes it: with all options, or it would rightly be replaced again.
        docker.check(
            f"docker create --name web {labels} --restart unless-stopped -e A=2"
            f" -v {volume}:/anonymous tiny:1 sleep 1000"
        )
    if reached == "started":
        docker.check("docker start web")
    assert actions(applier.apply(new)) == ["replace container:web"]
    assert containers(docker) == {"web": "running"}
    docker.check("docker exec web cat /anonymous/nameless")
    assert applier.plan(new).changes == ()


def test_the_old_one_comes_back_after_an_interruption_if_the_new_one_is_no_good(
    applier: Applier, docker: LabHost
) -> None:
    applier.apply(SLEEP)
    docker.check(f"docker stop -t 0 web; docker rename web {container_swap.parked('web')}")
    with pytest.raises(ResourceFailed, match="again and again"):
        applier.apply(replace(SLEEP, command=("false",)))
    assert containers(docker) == {"web": "running"}
    assert applier.plan(SLEEP).changes == ()


def test_somebody_else_s_container_is_taken_over_with_its_volumes(applier: Applier, docker: LabHost) -> None:
    docker.check("docker run -d --name web --restart always -v mine:/data tiny:1 sleep 1000")
    docker.check("docker exec web touch /data/named /anonymous/nameless")
    wanted = replace(SLEEP, mounts=(Mount("/data", "mine"),))
    (change,) = applier.plan(wanted).changes
    assert "adopted" in change.why
    applier.apply(wanted)
    docker.check("docker exec web cat /data/named /anonymous/nameless")


def test_a_container_with_its_data_elsewhere_is_not_touched(applier: Applier, docker: LabHost) -> None:
    docker.check("docker run -d --name web -v mine:/data tiny:1 sleep 1000")
    before = docker.check("docker inspect -f '{{.Id}}' web")
    with pytest.raises(ResourceFailed, match="keeps /data in mine, declared is data: declare mine"):
        applier.apply(replace(SLEEP, mounts=(Mount("/data", "data"),)))
    assert docker.check("docker inspect -f '{{.Id}}' web") == before


def test_a_stopped_or_paused_one_runs_again(applier: Applier, docker: LabHost) -> None:
    applier.apply(SLEEP)
    docker.check("docker stop -t 0 web")
    assert actions(applier.apply(SLEEP)) == ["start container:web"]
    docker.check("docker pause web")
    assert actions(applier.apply(SLEEP)) == ["restart container:web"]
    assert containers(docker) == {"web": "running"}


def test_a_new_image_under_the_same_name_is_noticed(applier: Applier, docker: LabHost) -> None:
    docker.check("docker tag tiny:1 rolling:latest")
    wanted = replace(SLEEP, image="rolling:latest")
    applier.apply(wanted)
    docker.check("docker tag tiny:2 rolling:latest")
    assert actions(applier.apply(wanted)) == ["replace container:web"]
    assert docker.check("docker exec web cat /mark") == "2"


def test_a_network_in_use_is_not_pulled_away(applier: Applier, docker: LabHost) -> None:
    applier.apply(Network("ai"), replace(SLEEP, network="ai"))
    with pytest.raises(ResourceFailed, match="containers use it: web"):
        applier.apply(Network("ai", internal=True))
    assert containers(docker) == {"web": "running"}


@pytest.mark.parametrize("compress", ["cat", "gzip -c", "zstd -q -c"], ids=["plain", "gzip", "zstd"])
def test_an_image_is_loaded_from_an_archive_of_this_machine(
    applier: Applier, docker: LabHost, tmp_path: Path, compress: str
) -> None:
    archive = tmp_path / "image"
    words = ["docker", "exec", docker.name, "sh", "-c", f"docker save tiny:2 | {compress}"]
    with archive.open("wb") as file:
        subprocess.run(words, stdout=file, check=True)
    wanted = Image("office/web:5", archive=archive, tags=("office/web:stable",))
    assert actions(applier.apply(wanted)) == ["load image:office/web:5"]
    assert docker.check("docker run --rm office/web:stable cat /mark") == "2"
    assert docker.check("ls /var/lib/provision/incoming") == ""
    docker.check("docker rmi office/web:stable")
    assert actions(applier.apply(wanted)) == ["tag image:office/web:5"]
    docker.check("docker tag tiny:1 office/web:5")
    assert actions(applier.apply(wanted)) == ["load image:office/web:5"]
    assert docker.check("docker run --rm office/web:5 cat /mark") == "2"


@pytest.fixture(scope="module")
def registry(docker: LabHost) -> Iterator[Registry]:
    """A registry that the host's engine may use without TLS."""
    with serving() as running:
        docker.put("/etc/docker/daemon.json", json.dumps({"insecure-registries": [running.address]}).encode())
        docker.check("systemctl reload docker")
        until(lambda: running.address in docker.check("docker info"), "the engine's new configuration")
        yield running


def publish(registry: Registry, mark: str, tag: str) -> str:
    """An image with this mark as `office/web:TAG`; gives its digest."""
    layer = rootfs(mark)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [],
    }
    return registry.add_image("office/web", json.dumps(config).encode(), [gzip.compress(layer, mtime=0)], tag)


def test_an_image_is_pulled_and_pinned_by_its_digest(applier: Applier, docker: LabHost, registry: Registry) -> None:
    digest = publish(registry, "pinned", "5")
    name = f"{registry.address}/office/web:5"
    wanted = Image(name, digest=digest)
    assert actions(applier.apply(wanted)) == [f"pull image:{name}"]
    assert docker.check(f"docker run --rm {name} cat /mark") == "pinned"
    assert applier.plan(wanted).changes == ()
    other = publish(registry, "newer", "5")
    assert applier.plan(wanted).changes == ()
    assert actions(applier.apply(replace(wanted, digest=other))) == [f"pull image:{name}"]
    assert docker.check(f"docker run --rm {name} cat /mark") == "newer"
    docker.check(f"docker rmi -f $(docker images -q {registry.address}/office/web | sort -u)")


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.WRONG])
def test_a_fault_of_the_registry_that_passes_does_not_need_a_second_run(
    applier: Applier, docker: LabHost, registry: Registry, fault: Fault
) -> None:
    publish(registry, f"after {fault.value}", "6")
    name = f"{registry.address}/office/web:6"
    with registry.misbehaving(fault, 1):
        applier.apply(Image(name))
    assert docker.check(f"docker run --rm {name} cat /mark") == f"after {fault.value}"
    docker.check(f"docker rmi -f {name}")


def test_an_image_that_is_not_there_is_told_in_the_engine_s_words(
    applier: Applier, docker: LabHost, registry: Registry
) -> None:
    name = f"{registry.address}/office/nope:1"
    with pytest.raises(ResourceFailed, match=rf"image:{name}: manifest for {name} not found"):
        applier.apply(Image(name))


def test_a_container_follows_its_image_in_one_run(applier: Applier, docker: LabHost, registry: Registry) -> None:
    name = f"{registry.address}/office/web:7"
    first = Image(name, digest=publish(registry, "first", "7"))
    applier.apply(first, replace(SLEEP, image=first))
    second = Image(name, digest=publish(registry, "second", "7"))
    assert actions(applier.apply(second, replace(SLEEP, image=second))) == [
        f"pull image:{name}",
        "replace container:web",
    ]
    assert docker.check("docker exec web cat /mark") == "second"


def test_an_engine_that_hangs_is_no_engine_without_objects(applier: Applier, docker: LabHost) -> None:
    docker.check("systemctl kill --signal=STOP docker")
    try:
        changes = applier.plan(Volume("data"), Network("ai"), SLEEP).changes
    finally:
        docker.check("systemctl kill --signal=CONT docker")
    assert {(one.why, one.uncertain) for one in changes} == {("the Docker engine does not answer", True)}


def test_without_an_engine_the_plan_is_uncertain_and_the_apply_fails_with_its_words(
    applier: Applier, docker: LabHost
) -> None:
    docker.check("systemctl stop docker.socket docker")
    try:
        (change,) = applier.plan(Volume("data")).changes
        assert change.uncertain
        with pytest.raises(ResourceFailed, match="volume:data: the Docker engine does not answer"):
            applier.apply(Volume("data"))
    finally:
        docker.check("systemctl start docker.socket docker")
    assert actions(applier.apply(Volume("data"))) == ["create volume:data"]
