"""The machine under the lab: Debian packages, package sources, CA certificates, the Docker engine."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import docker
from docker.errors import DockerException

from provision.twin.apt import Source, sources_for
from tests.lab.cache import Forbidden, LabError, root, run, say, stage

PACKAGES = (
    # the engine and the hosts
    "docker.io",
    "iptables",
    "mmdebstrap",
    "eatmydata",
    "debian-archive-keyring",
    "ca-certificates",
    "openssh-client",
    "sshpass",
    # what the artefacts are made with
    "gcc",
    "libc6-dev",
    "patchelf",
    "zstd",
    "pigz",
    "unzip",
    "xz-utils",
    # a small apt repository of our own
    "apt-utils",
    "dpkg-dev",
    "gpg",
    "gpg-agent",
    # what tests run on this machine
    "busybox",
    "curl",
    "dash",
    "git",
    "jq",
    "nftables",
    "procps",
    "shellcheck",
)
"""Every Debian package that the lab and the tests need, in one place: nothing is installed by hand."""

MTU = 1400
"""Not above the smallest uplink seen; a bridge with more loses large packets silently."""


def install_packages() -> None:
    """Install what is missing of PACKAGES.

    Raises:
        Forbidden: we are not root.
        LabError: this is no Debian, or apt failed three times.
    """
    query = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES)
    try:
        # dpkg-query ends with 1 when one is unknown, and prints the others all the same
        known = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError as error:
        raise LabError("the lab needs a Debian machine: there is no dpkg-query here") from error
    installed = {line.split()[0] for line in known.splitlines() if line.endswith(" installed")}
    missing = [package for package in PACKAGES if package not in installed]
    if not missing:
        return
    if os.geteuid() != 0:
        raise Forbidden(f"the lab needs root to install {' '.join(missing)}")
    env = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=5")
    with stage(f"apt-get install {' '.join(missing)}"):
        try:
            run((*apt, "update"), what="package lists", env=env, attempts=3)
        except LabError as error:
            # one source out of several that cannot be reached fails the update, and need not matter
            say(str(error))
        install = (*apt, "install", "-y", "--no-install-recommends", *missing)
        run(install, what="Debian packages", env=env, attempts=3)


def sources(suite: str) -> list[Source]:
    """The package sources of this machine, read as those of `suite`.

    So a lab host uses whatever mirror this machine uses, and the project names none.

    Raises:
        LabError: the machine has no source for its own suite.
    """
    found = sources_for(suite)
    if not found:
        raise LabError("no package source for this machine's own Debian release in /etc/apt")
    return found


def client() -> docker.DockerClient:
    """A client of the engine; the version is negotiated (Debian 12's speaks API 1.41)."""
    return docker.from_env(timeout=300)


def engine_answers() -> bool:
    """Whether a Docker engine answers."""
    try:
        return bool(client().ping())
    except DockerException:
        return False


def start_engine() -> None:
    """Start a Docker engine that outlives this process, unless one answers.

    Raises:
        Forbidden: the kernel refuses what it needs.
        LabError: it does not answer within 60 s; the last lines of its log are shown.
    """
    if engine_answers():
        return
    with stage("docker engine"):
        raise_limits()
        launch_engine(root() / "dockerd.log")


def raise_limits() -> None:
    """Each systemd takes several inotify instances; at the kernel's 128 the lab breaks from the 20th host on."""
    for key, least in (("max_user_instances", 8192), ("max_user_watches", 1048576)):
        setting = Path("/proc/sys/fs/inotify") / key
        try:
            if int(setting.read_text()) < least:
                setting.write_text(str(least))
        except OSError as error:
            say(f"{setting} stays as it is ({error}): many hosts at once may fail")


def launch_engine(log: Path) -> None:
    """Start `dockerd` and wait for its answer; see `start_engine`."""
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ("dockerd", "--mtu", str(MTU), "--storage-driver", "overlay2"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + 60
    while not engine_answers():
        ended = daemon.poll() is not None
        if ended or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").splitlines()
            kind = Forbidden if ended and forbids(lines) else LabError
            tail = "\n".join(lines[-12:])
            raise kind(f"the Docker engine does not answer; the end of {log}:\n{tail}")
        time.sleep(0.1)


_REFUSALS = ("operation not permitted", "permission denied", "read-only file system", "with root privileges")


def forbids(log: Sequence[str]) -> bool:
    """Whether dockerd ended because the kernel refused it something; its last line says what it ended of.

    Warnings before that speak of what is not permitted as well, on machines where the engine starts all the same.
    """
    last = next((line.lower() for line in reversed(log) if line.strip()), "")
    return any(word in last for word in _REFUSALS)
