"""The exchange of engines in a real shell; apt, dpkg and docker say what they said on Debian 13, as the lab saw it."""

from pathlib import Path

import pytest

from provision.resources.other_engine import OtherEngine
from tests.unit.resources.here import Here, StepFailed

NEW = ("docker-ce", "docker-ce-cli", "containerd.io")
SOLVED = """\
The following packages will be REMOVED:
  containerd docker-cli docker.io runc
Remv docker.io [26.1.5+dfsg1-9+deb13u1+b1]
Remv containerd [1.7.24~ds1-6+deb13u1]
Remv docker-cli [26.1.5+dfsg1-9+deb13u1+b1]
Remv runc [1.1.15+ds1-2+deb13u1]
Inst containerd.io (1.7.24-1~debian.13~trixie local-deb [amd64])
Inst docker-ce (5:26.1.5-1~debian.13~trixie local-deb [amd64])
Conf docker-ce (5:26.1.5-1~debian.13~trixie local-deb [amd64])
"""
# Where each keeps what it says: `solved` of a simulation, `packages` that dpkg knows and `packages.new` after the
# transaction, `ids` of the containers that run and `all` of those that there are.
COMMANDS = {
    "apt-get": """\
for word; do case $word in -s | --download-only | install | update) verb="$verb $word" ;; esac; done
echo "apt-get$verb" >>"$ROOT/log"
case $verb in
" update") touch "$ROOT/updated" ;;
" install -s")
    [ ! -e "$ROOT/stale" ] || [ -e "$ROOT/updated" ] ||
        { echo "E: Package 'docker-ce' has no installation candidate" >&2; exit 100; }
    cat "$ROOT/solved"
    ;;
" install --download-only")
    [ ! -e "$ROOT/unreachable" ] || { echo "E: Failed to fetch docker-ce.deb" >&2; exit 100; }
    ;;
" install") cp "$ROOT/packages.new" "$ROOT/packages"; : >"$ROOT/ids" ;;
esac
""",
    "dpkg-query": """\
shift 2
for name; do
    grep "^$name " "$ROOT/packages" | cut -d ' ' -f 2 | grep . || { echo "no packages found matching $name" >&2; rc=1; }
done
exit "${rc-0}"
""",
    "docker": """\
case $* in
"ps --format running={{.Names}}") sed 's/^/running=name-of-/' "$ROOT/ids" ;;
"ps -q --no-trunc") echo "docker ps" >>"$ROOT/log"; cat "$ROOT/ids" ;;
"ps -a -q --no-trunc") cat "$ROOT/all" ;;
*) echo "docker $*" >>"$ROOT/log" ;;
esac
""",
    "systemctl": 'echo "systemctl $*" >>"$ROOT/log"; [ "$1" != start ] || [ ! -e "$ROOT/broken" ]',
}


@pytest.fixture(params=[("dash",), ("busybox", "sh"), ("bash", "--posix")], ids=["dash", "busybox", "bash"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    """Debian's engine, with two containers that run and one that does not."""
    made = Here(tmp_path, shell=request.param, commands=COMMANDS)
    made.put("solved", SOLVED)
    made.put("packages", "docker.io installed\n")
    made.put("packages.new", "".join(f"{name} installed\n" for name in NEW))
    made.put("ids", "aaa\nbbb\n")
    made.put("all", "aaa\nbbb\nccc\n")
    made.put("log")
    return made


def done(here: Here) -> list[str]:
    """What was called, in order."""
    return here.path("log").read_text().splitlines()


def exchange(old: str = "docker.io") -> OtherEngine:
    return OtherEngine(old, NEW, replace=True)


def test_all_is_there_before_anything_stops_and_what_ran_runs_again(here: Here) -> None:
    change = here.apply(exchange())
    assert change is not None
    assert change.before == {"package": "docker.io", "running": ["name-of-aaa", "name-of-bbb"]}
    assert done(here) == [
        "apt-get install -s",
        "apt-get install --download-only",
        "docker ps",
        "apt-get install",
        "systemctl daemon-reload",
        "systemctl start docker.service",
        "docker start aaa",
        "docker start bbb",
    ]
    assert here.plan(exchange()) is None


def test_what_only_left_its_configuration_is_not_there(here: Here) -> None:
    here.put("packages", "docker.io config-files\n")
    assert here.plan(exchange()) is None


def test_what_does_not_belong_to_an_engine_never_goes_with_it(here: Here) -> None:
    here.put("solved", SOLVED + "Remv office-builds [1]\n")
    with pytest.raises(StepFailed, match=r"^office-builds would go with the engine: remove it, or leave out docker\."):
        here.apply(exchange())
    assert done(here) == ["apt-get install -s"]


def test_lists_that_do_not_have_the_new_engine_are_read_again(here: Here) -> None:
    here.put("stale")
    here.apply(exchange())
    assert done(here)[:3] == ["apt-get install -s", "apt-get update", "apt-get install -s"]
    assert done(here)[-1] == "docker start bbb"


def test_without_its_packages_nothing_stops(here: Here) -> None:
    here.put("unreachable")
    with pytest.raises(StepFailed, match=r"^E: Failed to fetch docker-ce\.deb$"):
        here.apply(exchange())
    assert done(here)[-1] == "apt-get install --download-only"


def test_a_transaction_that_leaves_a_package_out_is_a_failure(here: Here) -> None:
    here.put("packages.new", "docker-ce installed\ncontainerd.io half-configured\n")
    with pytest.raises(StepFailed, match=r"^the engine cannot be replaced$"):
        here.apply(exchange())
    assert done(here)[-1] == "systemctl daemon-reload"


def test_an_engine_that_does_not_start_is_a_failure(here: Here) -> None:
    here.put("broken")
    with pytest.raises(StepFailed, match=r"^the new engine does not start: see journalctl -u docker$"):
        here.apply(exchange())
    assert done(here)[-1] == "systemctl start docker.service"


def test_a_container_that_removed_itself_when_it_stopped_is_not_missed(here: Here) -> None:
    here.put("all", "bbb\nccc\n")
    here.apply(exchange())
    assert [line for line in done(here) if "docker start" in line] == ["docker start bbb"]


def test_containers_of_podman_are_none_of_docker_s(here: Here) -> None:
    here.put("packages", "podman-docker installed\n")
    here.put("solved", "Remv podman-docker [5.4.2+ds1-2+b2]\n")
    here.apply(exchange("podman-docker"))
    assert not [line for line in done(here) if line.startswith("docker ")]
