# mypy: ignore-errors
"""The same state for pyinfra, as its documentation recommends: an operation for each thing, facts where none exists."""

import json

from pyinfra import host, local
from pyinfra.facts.server import Command
from pyinfra.operations import apt, docker, files, server, systemd

apt.packages(name="packages", packages=["ca-certificates", "curl", "zstd", "gpg", "systemd-timesyncd"])
# Not running=True: in a container systemd skips it by a condition, and it would be a change each time.
systemd.service(name="time", service="systemd-timesyncd", enabled=True, running=None)
for path in (
    "/etc/apt/apt.conf.d/95provision-proxy",
    "/etc/provision/proxy.env",
    "/etc/systemd/system/docker.service.d/50-provision-proxy.conf",
):
    files.file(name=f"no {path}", path=path, present=False)

apt.packages(name="docker", packages=["docker.io", "docker-cli", "iptables"])
daemon = files.put(
    name="docker's configuration", src="files/found/daemon.json", dest="/etc/docker/daemon.json", mode="644"
)
systemd.service(name="docker runs", service="docker", enabled=True, running=True)
systemd.service(name="docker again", service="docker", restarted=True, _if=daemon.did_change)

server.user(
    name="ollama's user", user="ollama", system=True, home="/usr/share/ollama", shell="/usr/sbin/nologin",
    groups=["video"], append=True, ensure_home=False,
)  # fmt: skip
for path in ("/usr/share/ollama", "/usr/share/ollama/.ollama", "/usr/share/ollama/.ollama/models"):
    files.directory(name=path, path=path, user="ollama", group="ollama", mode="755")
files.file(name="ollama's release", path="/opt/ollama/0.9.3/bin/ollama", touch=False)
files.link(name="ollama's command", path="/usr/local/bin/ollama", target="/opt/ollama/0.9.3/bin/ollama")
for path in ("/usr/bin/ollama", "/usr/local/lib/ollama", "/usr/lib/ollama"):
    files.file(name=f"no {path}", path=path, present=False)
unit = files.put(
    name="ollama's unit", src="files/found/ollama.service", dest="/etc/systemd/system/ollama.service", mode="644"
)
drop_in = files.put(
    name="ollama's drop-in",
    src="files/found/zz-provision.conf",
    dest="/etc/systemd/system/ollama.service.d/zz-provision.conf",
    mode="644",
)
systemd.service(name="ollama runs", service="ollama", enabled=True, running=True)
systemd.service(
    name="ollama again", service="ollama", restarted=True, daemon_reload=True,
    _if=lambda: unit.did_change() or drop_in.did_change(),
)  # fmt: skip
host.get_fact(Command, "curl -sSf http://127.0.0.1:11434/api/version")
models = json.loads(host.get_fact(Command, "curl -sSf http://127.0.0.1:11434/api/tags"))["models"]
for model in ("tiny", "assistant"):
    if f"{model}:latest" not in [known["name"] for known in models]:
        server.shell(name=f"model {model}", commands=[f"ollama pull {model}"])

server.group(name="the app's group", group="office", system=True)
server.user(
    name="the app's user", user="app", system=True, home="/srv/app", shell="/usr/sbin/nologin", groups=["office"],
    append=True, ensure_home=False,
)  # fmt: skip
docker.container(
    name="the app", container="app", image="office/app:1", ports=["127.0.0.1:8000:8000"],
    command="httpd -f -p 8000 -h /etc",
)  # fmt: skip

local.include("small.py")
