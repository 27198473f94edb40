"""A user and a container of the office's own image."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from provision import Container, Group, HostView, Image, Port, Resource, User

HOME = "/srv/app"


class Settings(BaseModel):
    """Settings of `app`: none."""

    model_config = ConfigDict(extra="forbid")


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """A user, an image that is there, a container of it."""
    yield Group("office")
    yield User("app", HOME, groups=("office",))
    image = Image("office/app:1")
    yield image
    yield Container(
        "app", image, command=("httpd", "-f", "-p", "8000", "-h", "/etc"), ports=(Port(8000, 8000),), stop_timeout=1
    )
