"""Which group of Open WebUI's users may use the models: without a grant a normal user sees none."""

from collections.abc import Iterator

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Section, Step
from provision.resources.open_webui.instance import Instance, Stored


@dataclass(frozen=True)
class ModelAccess:
    """The instance's group exists and may read these models. Other grants, and who is in the group, are left alone."""

    instance: Instance
    models: tuple[str, ...]

    @property
    def id(self) -> str:
        """`open_webui_access:GROUP`."""
        return f"open_webui_access:{self.instance.group}"

    def probe(self) -> str:
        """The shared question."""
        return self.instance.probe()

    def observe(self, section: Section) -> Stored:
        """The shared answer."""
        return self.instance.observe(section)

    def plan(self, observed: Stored, pending: Pending) -> Change | None:
        """`grant` what the group may not read yet."""
        after = {"group": self.instance.group, "models": sorted(self.models)}
        if observed.complaint:
            why = f"unknown until {self.instance.container} runs"
            return Change(self.id, "grant", why, {}, after, uncertain=True)
        before = {"group": self.instance.group if observed.group else None, "models": sorted(observed.granted)}
        if not observed.group:
            return Change(self.id, "grant", "there is no such group", before, after)
        if missing := sorted(set(self.models) - observed.granted):
            return Change(self.id, "grant", f"it may not use {', '.join(missing)}", before, after)
        return None

    def steps(self, change: Change) -> Iterator[Step]:
        """Let the container do it."""
        yield self.instance.run("access", {"group": self.instance.group, "models": self.models})
