"""The small part of the office's servers: what every tool can say."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from provision import Directory, File, HostView, Link, Resource

TEMPLATES = ("app", "backup", "monitor", "proxy", "reports", "web")
FILES = ("hosts.allow", "limits", "motd", "printers", "shares", "vpn")


class Settings(BaseModel):
    """Settings of `office`."""

    model_config = ConfigDict(extra="forbid")

    greeting: str = Field("Welcome", description="Stands in one of the templates.")
    workers: int = Field(4, description="Stands in all of the templates.")


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Three directories, six templates, six files, a link."""
    for path in ("/etc/office", "/srv/office", "/var/log/office"):
        yield Directory(path)
    for name in TEMPLATES:
        text = host.render(f"office/{name}.conf.j2", greeting=want.greeting, workers=want.workers)
        yield File(f"/etc/office/{name}.conf", text)
    for name in FILES:
        found = host.find(f"files/{name}")
        assert found is not None
        yield File(f"/etc/office/{name}", found)
    yield Link("/srv/office/etc", "/etc/office")
