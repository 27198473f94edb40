"""The table of sabotages: what is done to a converged host, which check must find it, and what it must say.

docs/verify.md holds the table for readers; a test compares the two.
"""

from dataclasses import dataclass
from typing import Literal

SECRET = "correct-horse-battery"
MODEL = "generation tiny", "generation assistant"
MODELS = ("models", "derived models", *MODEL)
SERVER = ("ollama version", "no cloud", *MODELS)
AS_ADMIN = ("webui settings", "webui chat")
WEBUI = ("webui ready", "webui backends", "webui closed", "webui sign-in", *AS_ADMIN)
ENGINE = ("containers", "container settings", "container secrets", "volumes", *WEBUI)

_DROP_IN = "/etc/systemd/system/ollama.service.d/zz-provision.conf"
_OTHER = "/etc/systemd/system/ollama.service.d/zzz-other.conf"
_RELOAD = "systemctl daemon-reload"
_RESTART = (
    "systemctl daemon-reload; systemctl restart ollama; until curl -sf 127.0.0.1:11434 >/dev/null; do sleep 0.1; done"
)
_STORE = "/usr/share/ollama/.ollama/models"
_BIG = f"{_STORE}/manifests/registry.ollama.ai/library/big"
_TINY = f"{_STORE}/manifests/registry.ollama.ai/library/tiny/latest"
_WEIGHTS = (
    f"{_STORE}/blobs/$(grep -o 'image.model\",\"digest\":\"sha256:[0-9a-f]*' {_TINY} | grep -o 'sha256:.*' | tr : -)"
)
_UNLOAD = """curl -s 127.0.0.1:11434/api/generate -d '{"model": "tiny", "keep_alive": 0}'"""
# Runs in the container, with a statement as its argument.
_SQL = (
    "docker exec open-webui python3 -c 'import sqlite3, sys\n"
    'd = sqlite3.connect("/app/backend/data/webui.db"); d.execute(sys.argv[1]); d.commit()\' '
)
_AGAIN = """\
l() { docker inspect -f "{{index .Config.Labels \\"$1\\"}}" open-webui; }
set -- --label "provision.spec=$(l provision.spec)" --label "provision.public=$(l provision.public)" \
    --label "provision.files=$(l provision.files)"
docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' open-webui |
    sed 's/^WEBUI_ADMIN_NAME=.*/WEBUI_ADMIN_NAME=Mallory/; /^$/d' >/tmp/env
image=$(docker inspect -f '{{.Config.Image}}' open-webui)
docker rm -f open-webui
docker run -d --no-healthcheck --name open-webui --network host --restart unless-stopped "$@" --env-file /tmp/env \
    -v open-webui:/app/backend/data -v /etc/provision/open-webui:/run/provision:ro "$image" bash /run/provision/start.sh
until curl -sf 127.0.0.1:8080/health; do sleep 0.5; done
"""
_DAEMON = "/etc/docker/daemon.json"
# Ollama on loopback refuses a Host that is no local name (server/routes.go: allowedHost).
BACKEND = "http://ollama.office.internal:11434"


@dataclass(frozen=True)
class Sabotage:
    """One way to break a host.

    Args:
        what: for the reader; unique.
        host: which of the two.
        script: does it, as root on the host.
        check: must fail.
        cause: must stand in its message.
        also: all other checks that fail; they see the same thing from elsewhere. `drift`: the plan would repair it.
        blocked: what is blocked, all of it, and by `blocker` (`check` if not given).
        repair: done by hand where `apply` leaves the matter alone: it is not ours.
    """

    what: str
    host: Literal["gpu01", "chat01"]
    script: str
    check: str
    cause: str
    also: tuple[str, ...] = ("drift",)
    blocked: tuple[str, ...] = ()
    blocker: str = ""
    repair: str = ""


SABOTAGES = (
    Sabotage("the service is stopped", "gpu01", "systemctl stop ollama", "service ollama", "ollama.service is inactive",
             blocked=SERVER),
    Sabotage("the service is disabled at boot", "gpu01", "systemctl disable ollama", "service ollama",
             "ollama.service is disabled at boot", blocked=SERVER),
    Sabotage("a drop-in is edited, reloaded, not restarted", "gpu01",
             f"echo Environment=OLLAMA_KEEP_ALIVE=1m >>{_DROP_IN}; {_RELOAD}", "service ollama",
             "runs with another OLLAMA_KEEP_ALIVE than its unit says", ("drift", "files"), SERVER),
    Sabotage("the process runs with settings of an earlier run", "gpu01",
             f"sed -i 's/\\(PROVISION_SPEC=\\)[0-9a-f]*/\\1abc/' {_DROP_IN}; {_RESTART}", "service ollama",
             "older settings than declared", ("drift", "files"), SERVER),
    Sabotage("another drop-in overrides a declared variable", "gpu01",
             f"printf '[Service]\\nEnvironment=OLLAMA_NO_CLOUD=0\\n' >{_OTHER}; {_RESTART}", "service ollama",
             "runs with another OLLAMA_NO_CLOUD than declared", (), SERVER, repair=f"rm {_OTHER}; {_RESTART}"),
    Sabotage("Ollama listens on all interfaces", "gpu01",
             f"sed -i s/127.0.0.1:11434/0.0.0.0:11434/ {_DROP_IN}; {_RESTART}", "reachable ports",
             "although ollama.listen is loopback", ("drift", "files", "service ollama"), SERVER,
             "service ollama"),
    Sabotage("a managed file's mode is changed", "gpu01", f"chmod 0666 {_DROP_IN}", "files",
             f"{_DROP_IN} has mode 0666, not 0644"),
    Sabotage("a managed file's content is changed", "gpu01", "echo more >>/etc/office.conf", "files",
             "/etc/office.conf has another content than declared"),
    Sabotage("a managed directory belongs to somebody else", "gpu01", "chown daemon /usr/share/ollama/.ollama", "files",
             "/usr/share/ollama/.ollama belongs to daemon:ollama"),
    Sabotage("the service's user is taken out of a group", "gpu01", "gpasswd -d ollama video", "users",
             "ollama is not in the group video"),
    Sabotage("a package is removed", "gpu01", "dpkg --force-depends -r gpg", "packages", "not installed: gpg"),
    Sabotage("a second ollama is in the path", "gpu01", "cp /bin/true /usr/bin/ollama", "one ollama", "2 in PATH: "),
    Sabotage("the binary is switched to another version", "gpu01",
             f"ln -sfn /opt/other/bin/ollama /usr/local/bin/ollama; {_RESTART}", "ollama version",
             "0.9.4 answers on port 11434, 0.9.3 is declared", blocked=("no cloud", *MODELS)),
    Sabotage("a model is deleted", "gpu01", "ollama rm assistant", "models", "missing: assistant",
             blocked=("derived models", *MODEL)),
    Sabotage("a model's blob is deleted", "gpu01", f"rm {_WEIGHTS}", "models", "(model) is not there",
             blocked=("derived models", *MODEL)),
    Sabotage("a model's blob is cut short", "gpu01", f"{_UNLOAD}; sleep 1; truncate -s 1000 {_WEIGHTS}", "models",
             "(model) has 1000 bytes, not ",
             blocked=("derived models", *MODEL)),
    Sabotage("a derived model has other parameters", "gpu01",
             "printf 'FROM tiny\\nSYSTEM You help.\\nPARAMETER num_ctx 1024\\nPARAMETER num_predict 5\\n' >/tmp/M;"
             " ollama create assistant -f /tmp/M", "derived models", "assistant: num_ctx is 1024, 512 is declared"),
    Sabotage("a derived model has another system prompt", "gpu01",
             "printf 'FROM assistant\\nSYSTEM You rule.\\n' >/tmp/M; ollama create assistant -f /tmp/M",
             "derived models", "assistant: it has another SYSTEM than declared"),
    Sabotage("a model that runs in the cloud is added", "gpu01",
             f"mkdir {_BIG}; cp {_TINY} {_BIG}/120b-cloud; chown -R ollama: {_BIG}", "no cloud",
             "big:120b-cloud runs at ollama.com", (), repair=f"rm -r {_BIG}"),
    Sabotage("the server's program cannot be executed any more", "gpu01",
             f"{_UNLOAD}; chmod -x /opt/ollama/0.9.3/bin/ollama", "generation tiny", "not streamed: error",
             ("drift", "one ollama", "generation assistant")),
    Sabotage("a secret's file can be read by all", "gpu01", "chmod 0644 /etc/office.key", "secrets",
             "/etc/office.key has mode 0644, not 0600", ("drift", "files")),
    Sabotage("a secret is copied into a file that all can read", "gpu01",
             "umask 022; cat /etc/office.key >/etc/key.bak", "secrets",
             "a secret stands in /etc/key.bak, which everybody can read", (), repair="rm /etc/key.bak"),
    Sabotage("a secret is written into a unit file", "gpu01", f"echo Environment=KEY={SECRET} >>{_DROP_IN}", "secrets",
             f"a secret stands in the unit file {_DROP_IN}", ("drift", "files")),
    Sabotage("a secret is an argument of a process", "gpu01",
             f"setsid sh -c ': {SECRET}; sleep 600; :' >/dev/null 2>&1 & echo $! >/tmp/leak; sleep 0.2", "secrets",
             "a secret stands in the arguments of process", (), repair="pkill -s \"$(cat /tmp/leak)\"; :"),
    Sabotage("the backend is stopped", "chat01", "systemctl stop ollama", "service ollama",
             "ollama.service is inactive", blocked=(*SERVER, "webui backends", "webui chat")),
    Sabotage("a backend's name leads elsewhere", "chat01",
             "docker exec open-webui sh -c 'echo 127.0.0.9 ollama.office.internal >/etc/hosts'", "webui backends",
             f"{BACKEND} does not answer from inside the container", (), ("webui chat",),
             repair="docker exec open-webui sh -c 'echo 127.0.0.1 localhost ollama.office.internal >/etc/hosts'"),
    Sabotage("sign-up is opened in the database", "chat01",
             _SQL + "\"update config set value = 'true' where key = 'ui.enable_signup'\"", "webui closed",
             "sign-up is open: it answers HTTP 400, not 403", ("drift", "webui settings")),
    Sabotage("a stored setting is changed in the database", "chat01",
             _SQL + "\"update config set value = 'true' where key = 'openai.enable'\"", "webui settings",
             "openai.enable is true, declared is false"),
    Sabotage("the admin's account is switched off", "chat01", _SQL + "'update auth set active = 0'", "webui sign-in",
             "it@office.lan cannot sign in", blocked=AS_ADMIN),
    Sabotage("the models are taken from the users' group", "chat01", _SQL + "'delete from access_grant'", "webui chat",
             "a normal user does not see assistant:latest, tiny:latest"),
    Sabotage("the container is stopped", "chat01", "docker stop -t 3 open-webui", "containers", "open-webui is exited",
             blocked=("container settings", *WEBUI)),
    Sabotage("the container's restart policy is changed", "chat01", "docker update --restart=no open-webui",
             "container settings", "open-webui has the restart policy no, not unless-stopped"),
    Sabotage("the container is made again with another environment and our labels", "chat01", _AGAIN,
             "container settings", "open-webui runs with another WEBUI_ADMIN_NAME than declared"),
    Sabotage("a secret is in another container's environment", "chat01",
             f"docker create --name spy -e KEY={SECRET} \"$(docker inspect -f '{{{{.Image}}}}' open-webui)\" true",
             "container secrets", "a secret stands in docker inspect /spy", (), repair="docker rm spy"),
    Sabotage("log rotation is taken out of daemon.json", "chat01",
             f"echo '{{\"live-restore\": true, \"log-driver\": \"json-file\"}}' >{_DAEMON}; systemctl restart docker",
             "docker daemon", "daemon.json has log-opts null", blocked=ENGINE),
    Sabotage("the Docker engine is stopped", "chat01", "systemctl stop docker.socket docker", "service docker",
             "docker.service is inactive", blocked=("docker daemon", *ENGINE)),
)  # fmt: skip
