"""The container of Open WebUI: before another image its databases are copied; if that image fails they come back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.dataclass import dataclass
from provision.resources import container_swap
from provision.resources.base import Change, Docker, Pending, Step
from provision.resources.container import Container
from provision.resources.docker_cli import Found
from provision.resources.open_webui.instance import DATA
from provision.values import printable

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container as DockerContainer

_COPIES = Path(__file__).parent / "inside" / "copies.py"


@dataclass(frozen=True)
class Server(Container):
    """A `Container` whose data are migrated by each new version, and cannot be used by the one before afterwards.

    (0.11.4 on a database of 0.12.4 exits with "Can't locate revision": a crash loop under a restart policy.)
    """

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """As a container's; says so when the databases will be copied."""
        change = super().plan(observed, pending)
        if change is None or change.action != "replace" or not {"image", "digest"} & change.after.keys():
            return change
        return replace(change, after={**change.after, "backup": f"{DATA}/backups"})

    def steps(self, change: Change) -> Iterator[Step]:
        """One step by the SDK."""
        if change.action not in ("create", "replace"):
            yield from super().steps(change)
            return
        yield Docker(self._upgrade, f"{change.action} container {self.name}")

    def _upgrade(self, client: "docker.DockerClient") -> None:
        import docker.errors

        old = self._other_image(client)
        if old is not None and old.name == self.name:
            _run(client, old, "save")
        try:
            container_swap.swap(client, self.name, self._options(), self.wait)
        except (ValueError, docker.errors.APIError):
            if old is not None:
                _bring_back(client, old)
            raise

    def _other_image(self, client: "docker.DockerClient") -> "DockerContainer | None":
        """The container to be replaced, when it runs another image: the parked one of an interrupted run first."""
        import docker.errors

        wanted = client.images.get(self.image_name).id
        for name in (container_swap.parked(self.name), self.name):
            try:
                old = client.containers.get(name)
            except docker.errors.NotFound:
                continue
            return old if old.attrs["Image"] != wanted else None
        return None


def _bring_back(client: "docker.DockerClient", old: "DockerContainer") -> None:
    old.reload()
    old.stop(timeout=30)
    _run(client, old, "restore")
    old.start()


def _run(client: "docker.DockerClient", old: "DockerContainer", action: str) -> None:
    """Run `inside/copies.py` with the old container's image and volumes, whether it runs or not.

    Raises:
        ValueError: it failed; the old container was not touched.
    """
    import docker.errors

    options: dict[str, Any] = {"volumes_from": [old.id], "network_mode": "none", "remove": True, "user": "0"}
    try:
        command = ["-c", _COPIES.read_text(), action, DATA]
        client.containers.run(old.attrs["Image"], command, entrypoint=["python3"], stderr=True, **options)
    except docker.errors.ContainerError as error:
        said = (
            (error.stderr or b"").decode("utf-8", "replace") if isinstance(error.stderr, bytes) else str(error.stderr)
        )
        last = printable(said.strip().rpartition("\n")[2], 300)
        raise ValueError(f"the databases of Open WebUI could not be copied ({action}): {last}") from error
