"""`twin:` in the inventory: what stands in for what a container cannot have."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from provision.inventory.names import did_you_mean
from provision.inventory.reader import Overlay
from provision.twin.gpus import PROFILES
from provision.twin.recipes import DEFAULT, RECIPES, is_reference


class TwinSettings(BaseModel):
    """The host variable `twin`."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(
        default=DEFAULT,
        description="The system of the host's twin, or an image to build it on, with its tag.",
        examples=["debian-12", "quay.io/centos/centos:stream10"],
    )
    gpu: str | None = Field(
        default=None,
        description="GPUs that the twin pretends to have: healthy ones, or one with a driver that fails.",
        examples=["nvidia-rtx-4090"],
    )
    settings: dict[str, Any] = Field(
        default={},
        description="Laid over the settings of the host's roles, and checked like them.",
        examples=[{"models": {"gpt-oss:20b": {"from": "tiny"}}}],
    )

    @field_validator("image")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in RECIPES and not is_reference(value):
            raise ValueError(f"there is no twin image {value!r}{did_you_mean(value, RECIPES)}")
        return value

    @field_validator("gpu")
    @classmethod
    def _is_a_profile(cls, value: str | None) -> str | None:
        if value is not None and value not in PROFILES:
            raise ValueError(f"there is no GPU profile {value!r}{did_you_mean(value, PROFILES)}")
        return value


OVERLAY = Overlay("twin", TwinSettings)
