"""Models that are not declared: removed only where the inventory says so, by their exact names."""

from collections.abc import Iterator
from typing import ClassVar

from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources import model_store
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.model_store import DEFAULT_SERVER, Server, Store
from provision.resources.ollama_model import api
from provision.values import human_bytes


@dataclass(frozen=True)
class ModelPrune:
    """Only the models in `keep` stay in the server."""

    keep: tuple[str, ...]
    server: Server = DEFAULT_SERVER
    owned: ClassVar[bool] = False

    @property
    def id(self) -> str:
        """`models:undeclared`."""
        return "models:undeclared"

    def probe(self) -> str:
        """The server's list."""
        return model_store.tools(self.server) + "ask tags\n"

    def observe(self, section: Section) -> Store:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        return model_store.observe(section)

    def plan(self, observed: Store, pending: Pending) -> Change | None:
        """`remove` for what is not declared. A server that does not answer has nothing to remove yet."""
        keep = {ModelName.parse(name).key for name in self.keep}
        extra = sorted((tag for key, tag in observed.tags.items() if key not in keep), key=lambda tag: tag.name)
        if not extra:
            return None
        names = tuple(tag.name for tag in extra)
        why = f"not declared, models_prune: true; {human_bytes(sum(tag.size for tag in extra))} together at most"
        return Change(self.id, "remove", why, before={tag.name: tag.digest[:12] for tag in extra}, private=names)

    def steps(self, change: Change) -> Iterator[Step]:
        """One request a model."""
        yield Run("".join(api(self.server, "DELETE", "delete", {"model": name}) for name in change.private))
