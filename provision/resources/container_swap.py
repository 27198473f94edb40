"""Putting a new container in the place of an old one, so that a failure or an interruption leaves one that works.

old stops -> old is renamed to `NAME.provision-old` -> the new one is made, with the old one's id in a label, and
started -> it is running and healthy -> old is removed, its volumes stay. Whatever step this ends at, the next run finds
the parked container and either finishes (its successor is well) or goes back and begins again.
"""

import json
import re
import time
from typing import TYPE_CHECKING, Any

from provision.resources.docker_cli import PUBLIC, REPLACES, SPEC
from provision.values import printable

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_STEADY = 2.0
"""Seconds that a container without a health check must stay up to count as running."""
_CRASHES = 3


class NotWell(ValueError):
    """A container does not get to run, or does not get healthy; with its last lines."""


def parked(name: str) -> str:
    """What the old container is called while its successor starts."""
    return f"{name}.provision-old"


def swap(client: "docker.DockerClient", name: str, options: dict[str, Any], wait: float, stop: int = 30) -> None:
    """Make the container `name`; an existing one is replaced.

    Args:
        client: of the host's engine.
        name: the container's name.
        options: arguments of `client.containers.create`.
        wait: seconds for the new one to be well.
        stop: seconds that the old one gets to end by itself.

    Raises:
        ValueError: the new one is not well; the old one runs again.
        docker.errors.APIError: the engine refuses; the old one runs again.
    """
    if _recover(client, name, options["labels"][SPEC], wait):
        return
    old = _find(client, name)
    labels = dict(options["labels"])
    mounts = list(options.get("mounts", []))
    if old is not None:
        _same_places(old, mounts)
        mounts += _anonymous(old, mounts)
        labels[REPLACES] = old.id
        _park(old, stop)
    try:
        new = client.containers.create(**{**options, "labels": labels, "mounts": mounts})
        new.start()
        settle(new, wait)
    except BaseException:
        # Also for Ctrl-C: the old one must not stay away because somebody lost patience.
        _put_back(client, name, old)
        raise
    if old is not None:
        old.remove(v=False)


def nudge(client: "docker.DockerClient", name: str, action: str, wait: float, stop: int = 30) -> None:
    """`start`, `restart` or `wait`, then see that it is well.

    Raises:
        ValueError: it is not well in time.
    """
    container = client.containers.get(name)
    if action == "start":
        container.start()
    elif action == "restart":
        if container.status == "paused":
            container.unpause()
        container.restart(timeout=stop)
    settle(container, wait)


def settle(container: "Container", wait: float) -> None:
    """Wait until it runs and, where there is a health check, is healthy.

    Raises:
        NotWell: it ended, keeps ending, is unhealthy, or time is up.
    """
    up_since = time.monotonic()
    end = up_since + wait
    before, seen, code = int(container.attrs.get("RestartCount") or 0), 0, 0
    while True:
        container.reload()
        state = container.attrs.get("State") or {}
        status, health = str(state.get("Status")), str((state.get("Health") or {}).get("Status") or "")
        crashes = int(container.attrs.get("RestartCount") or 0) - before
        # Between two crashes it is "running" with status 0: remember what it was.
        code = state.get("ExitCode") or code
        now = time.monotonic()
        if status != "running" or crashes != seen:
            up_since, seen = now, crashes
        if status == "running" and (health == "healthy" or (not health and now - up_since >= _STEADY)):
            return
        if crashes >= _CRASHES:
            raise NotWell(_complaint(container, f"it ends again and again (exit status {code})"))
        if status in ("exited", "dead") and _stays_down(container):
            raise NotWell(_complaint(container, f"it ended (exit status {code})"))
        if health == "unhealthy":
            checks = (state.get("Health") or {}).get("Log") or [{}]
            said = printable(str(checks[-1].get("Output")), 200).strip()
            raise NotWell(_complaint(container, f"it is unhealthy: {said}"))
        if now >= end:
            raise NotWell(_complaint(container, f"it is {health or status} after {wait:.0f} s"))
        time.sleep(0.5)


def _stays_down(container: "Container") -> bool:
    policy = ((container.attrs.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    return policy == "no" or (policy == "on-failure" and (container.attrs["State"].get("ExitCode") == 0))


def _complaint(container: "Container", what: str) -> str:
    log = container.logs(tail=10).decode("utf-8", "replace")
    last = " | ".join(printable(line, 200).strip() for line in log.splitlines() if line.strip())
    return f"{what}; its last lines: {last or 'none'}"


def _find(client: "docker.DockerClient", name: str) -> "Container | None":
    import docker

    try:
        return client.containers.get(name)
    except docker.errors.NotFound:
        return None


def _recover(client: "docker.DockerClient", name: str, spec: str, wait: float) -> bool:
    """Finish or undo an interrupted replacement. Whether the wanted container is there afterwards."""
    old = _find(client, parked(name))
    if old is None:
        return False
    new = _find(client, name)
    if new is not None:
        if new.labels.get(REPLACES) != old.id:
            raise ValueError(f"{old.name} is there, but {name} is not its successor; remove the one that is not wanted")
        try:
            if new.labels.get(SPEC) == spec:
                new.start()
                settle(new, wait)
                old.remove(v=False)
                return True
        except NotWell:
            pass  # the old one comes back, then it is tried once more from the beginning
        new.remove(force=True)
    old.rename(name)
    return False


def _park(old: "Container", stop: int) -> None:
    # Else `always` would start it beside its successor when the engine restarts.
    set_restart(old, "no")
    if old.status == "paused":
        old.unpause()
    old.stop(timeout=stop)
    old.rename(parked(str(old.name)))


def _put_back(client: "docker.DockerClient", name: str, old: "Container | None") -> None:
    new = _find(client, name)
    if new is not None and (old is None or new.id != old.id):
        new.remove(force=True)
    if old is None:
        return
    old.reload()
    if old.name != name:
        old.rename(name)
    set_restart(old, _policy(old))
    old.start()


def set_restart(container: "Container", policy: str) -> None:
    """Give it a restart policy; it runs on."""
    # The SDK's type stubs know two of the engine's four policies.
    value: Any = {"Name": policy}
    container.update(restart_policy=value)


def _policy(old: "Container") -> str:
    """The restart policy that a parked container had; of somebody else's it is not remembered."""
    try:
        return str(json.loads(old.labels.get(PUBLIC) or "{}").get("restart") or "unless-stopped")
    except ValueError:
        return "unless-stopped"


def _volumes(old: "Container") -> dict[str, str]:
    """Mounted volumes: place -> name."""
    mounts = old.attrs.get("Mounts") or []
    return {str(item["Destination"]): str(item["Name"]) for item in mounts if item.get("Type") == "volume"}


def _anonymous(old: "Container", mounts: list[Any]) -> list[Any]:
    """The old one's volumes without a name, for the same places in the new one: their data must not be lost."""
    import docker

    taken = {mount["Target"] for mount in mounts}
    return [
        docker.types.Mount(place, name, "volume")
        for place, name in _volumes(old).items()
        if place not in taken and _ANONYMOUS.fullmatch(name)
    ]


def _same_places(old: "Container", mounts: list[Any]) -> None:
    """Somebody else's container may keep its data elsewhere than in the declared volume: then stop before any harm."""
    if old.labels.get(SPEC):
        return
    wanted = {mount["Target"]: mount.get("Source") for mount in mounts}
    for item in old.attrs.get("Mounts") or []:
        place = str(item.get("Destination"))
        source = item.get("Name") if item.get("Type") == "volume" else item.get("Source")
        if item.get("Type") in ("volume", "bind") and place in wanted and wanted[place] != source:
            raise ValueError(
                f"the container that is there keeps {place} in {source}, declared is {wanted[place]}: "
                f"declare {source}, or remove that container"
            )
