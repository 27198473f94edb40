"""Volumes for a host's /var/lib/docker that hold the image of Open WebUI already: loading it takes half a minute."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from docker.errors import NotFound

from tests.lab import open_webui
from tests.lab.cache import locked, recipe_hash, stage
from tests.lab.hosts import LabHost, owner
from tests.lab.machine import client
from tests.lab.prepare import Lab

_ARCHIVE = "/var/lib/docker/.seed.tar.zst"


def seed(lab: Lab) -> str:
    """The name of the volume that others are copied from; made by a host's own engine the first time."""
    archive = lab.artifacts / open_webui.ARCHIVE
    name = f"provision-lab-seed-{recipe_hash(Path(__file__), str(archive.resolve()))}"
    with locked("seed"):
        if _exists(name):
            return name
        with stage("seed: the image of Open WebUI in a host's engine"):
            half = f"{name}-half"
            _remove(half)
            client().volumes.create(half)
            host = LabHost.start(volume=half)
            try:
                host.check(
                    "apt-get install -qq -y --no-install-recommends docker.io docker-cli iptables zstd", timeout=600
                )
                host.put(_ARCHIVE, archive)
                host.check(f"zstd -dc {_ARCHIVE} | docker load && rm {_ARCHIVE}", timeout=600)
                host.check("systemctl stop docker.socket docker containerd")
            finally:
                host.remove(keep_volume=True)
            copy_volume(half, name, {})
            _remove(half)
    return name


def seeded_volume(lab: Lab, labels: Mapping[str, str] | None = None) -> str:
    """A fresh copy of the seed, for `LabHost.start(volume=...)`, which removes it with the host.

    Args:
        lab: the prepared lab.
        labels: in place of the label by which `python -m tests.lab clean` finds it.
    """
    name = f"provision-lab-docker-{secrets.token_hex(4)}"
    copy_volume(seed(lab), name, dict(labels) if labels else owner())
    return name


def copy_volume(source: str, target: str, labels: dict[str, str]) -> None:
    """Volumes are directories of this machine's engine. A copy shares nothing with its source."""
    client().volumes.create(target, labels=labels)
    binds = {source: {"bind": "/from", "mode": "ro"}, target: {"bind": "/to", "mode": "rw"}}
    client().containers.run(
        "provision-lab/debian-13:plain", ["cp", "-a", "/from/.", "/to/"], entrypoint=[], volumes=binds, remove=True
    )


def _exists(name: str) -> bool:
    try:
        client().volumes.get(name)
    except NotFound:
        return False
    return True


def _remove(name: str) -> None:
    try:
        client().volumes.get(name).remove(force=True)
    except NotFound:
        return
