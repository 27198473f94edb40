"""Settings as roles have them, for the tests of this folder."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from provision.fields import GroupName, HostOrGroup
from provision.values import Secret


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Strict):
    pass


class Ollama(Strict):
    version: str = "0.32.15"
    mode: str = "0755"
    listen: Literal["loopback", "lan"] = "loopback"
    allow: list[HostOrGroup] = []
    port: Annotated[int, Field(ge=1, le=65535)] = 11434
    allow_vulnerable: bool = False
    environment: dict[str, str] = {}
    keep: float | Literal["forever"] = "forever"
    daemon: dict[str, Any] = {}
    extra: dict[str, str] = {}

    @field_validator("environment")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name.startswith("OLLAMA_"):
                raise ValueError(f"Ollama reads no variable {name}")
        return value


class Model(Strict):
    from_: str | None = Field(default=None, alias="from")
    parameters: dict[str, Any] = {}
    size: int = 0


class Models(RootModel[dict[str, Model | None] | list[str]]):
    root: dict[str, Model | None] | list[str] = {}


class Backends(Strict):
    group: GroupName


class Admin(Strict):
    email: str
    password: Secret


class WebUI(Strict):
    backends: Backends
    admin: Admin
    environment: dict[str, str | Secret] = {}


SCHEMAS: dict[str, type[BaseModel]] = {
    "base": Nothing,
    "docker": Nothing,
    "ollama": Ollama,
    "models": Models,
    "open_webui": WebUI,
}
