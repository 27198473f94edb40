# mypy: ignore-errors
"""The small part of the office's servers, for pyinfra."""

from pyinfra import host
from pyinfra.operations import files

for path in ("/etc/office", "/srv/office", "/var/log/office"):
    files.directory(name=path, path=path, mode="755")
for name in ("app", "backup", "monitor", "proxy", "reports", "web"):
    files.template(
        name=f"template {name}", src=f"templates/office/{name}.conf.j2", dest=f"/etc/office/{name}.conf", mode="644",
        jinja_env_kwargs={"trim_blocks": True}, greeting=host.data.greeting, workers=4,
    )  # fmt: skip
for name in ("hosts.allow", "limits", "motd", "printers", "shares", "vpn"):
    files.put(name=f"file {name}", src=f"files/{name}", dest=f"/etc/office/{name}", mode="644")
files.link(name="link", path="/srv/office/etc", target="/etc/office")
