"""`twin:` in the inventory: what stands in for what a container cannot have."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from provision.inventory.names import did_you_mean
from provision.inventory.reader import Overlay
from provision.twin.recipes import DEFAULT, RECIPES


class TwinSettings(BaseModel):
    """The host variable `twin`."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(default=DEFAULT, description="The system of the host's twin.", examples=["debian-12"])
    settings: dict[str, Any] = Field(
        default={},
        description="Laid over the settings of the host's roles, and checked like them.",
        examples=[{"models": {"gpt-oss:20b": {"from": "tiny"}}}],
    )

    @field_validator("image")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in RECIPES:
            raise ValueError(f"there is no twin image {value!r}{did_you_mean(value, RECIPES)}")
        return value


OVERLAY = Overlay("twin", TwinSettings)
