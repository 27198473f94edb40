"""`make demo`: two servers that did not exist a minute ago, and a chat between them.

One serves a model with Ollama, the other Open WebUI that uses it; both are made from inventory/lab.yml by
`provision apply`, as a user would.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
from docker.types import IPAMConfig, IPAMPool

from tests.lab.cache import LabError
from tests.lab.hosts import LabHost
from tests.lab.prepare import Lab, prepare
from tests.lab.seeds import seeded_volume

ROOT = Path(__file__).parents[2]
STATE = ROOT / "build" / "demo"
INVENTORY = "inventory/lab.yml"
NETWORK = "provision-demo"
SUBNET = "10.213.77.0/24"
URL = "http://127.0.0.1:8080"
EMAIL = "admin@office.lan"
QUESTION = "When does the office open?"


def up() -> int:
    """Make the two servers, provision them twice and chat. Returns the exit status."""
    began = time.monotonic()
    lab = prepare()
    down()
    password = write_state(lab)
    make_servers(lab)
    environ = os.environ | {"WEBUI_ADMIN_PASSWORD": password}
    # The last one is the proof that nothing is left to do: it would end with 2.
    for step in (("trust", "--yes", "all"), ("plan",), ("apply",), ("apply",), ("plan", "--exit-code")):
        say(f"provision {' '.join((step[0], '-i', INVENTORY, *step[1:]))}")
        ended = subprocess.run(
            [sys.executable, "-m", "provision", step[0], "-i", INVENTORY, *step[1:]], cwd=ROOT, env=environ, check=False
        )
        if ended.returncode:
            return ended.returncode
    say(f"chat completion through {URL}")
    print(f"  {QUESTION}\n  {chat(password)[:200]!r}")
    if not (models := loaded()):
        raise LabError("the answer came, but gpu01 has no model in memory")
    print(f"  the model was loaded on gpu01: {models}")
    print(
        f"\nOpen WebUI   {URL}\nlogin        {EMAIL}\npassword     {password}\n"
        f"again        WEBUI_ADMIN_PASSWORD={password} .venv/bin/provision plan -i {INVENTORY}\n"
        f"remove       make demo-down\n({time.monotonic() - began:.0f} s)"
    )
    return 0


def down() -> int:
    """Remove the demo's servers, network and files; nothing else. Returns the exit status."""
    client = docker.from_env()
    for container in client.containers.list(all=True, filters={"label": f"provision-demo={NETWORK}"}):
        container.remove(force=True, v=True)
    for network in client.networks.list(names=[f"^{NETWORK}$"]):
        network.remove()
    for volume in client.volumes.list(filters={"label": f"provision-demo={NETWORK}"}):
        volume.remove(force=True)
    shutil.rmtree(STATE, ignore_errors=True)
    return 0


def write_state(lab: Lab) -> str:
    """Put the key and the artefacts where inventory/lab.yml looks for them; returns the admin's password."""
    STATE.mkdir(parents=True)
    shutil.copy(lab.key, STATE / "id_ed25519")
    (STATE / "artifacts").symlink_to(lab.artifacts)
    return secrets.token_urlsafe(9)


def make_servers(lab: Lab) -> None:
    """Start gpu01 and chat01 on a network of their own."""
    client = docker.from_env()
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet=SUBNET)])
    client.networks.create(NETWORK, ipam=pool, labels={"provision-demo": NETWORK})
    labels = {"provision-demo": NETWORK}
    say("two Debian 13 servers: gpu01, chat01")
    LabHost.start(name="gpu01", network=NETWORK, ip="10.213.77.11", ports={22: 2221}, labels=labels)
    volume = seeded_volume(lab, labels=labels)
    LabHost.start(
        name="chat01", network=NETWORK, ip="10.213.77.12", ports={22: 2222, 8080: 8080}, volume=volume, labels=labels
    )


def chat(password: str) -> str:
    """One chat completion through Open WebUI, as a user would."""
    token = call("/api/v1/auths/signin", {"email": EMAIL, "password": password})["token"]
    body = {"model": "office-assistant:latest", "messages": [{"role": "user", "content": QUESTION}], "stream": False}
    return str(call("/api/chat/completions", body, token)["choices"][0]["message"]["content"])


def loaded() -> str:
    """What gpu01's Ollama says it has loaded."""
    script = "curl -s http://127.0.0.1:11434/api/ps"
    answer = docker.from_env().containers.get("gpu01").exec_run(["sh", "-c", script]).output
    assert isinstance(answer, bytes)
    return ", ".join(model["name"] for model in json.loads(answer)["models"])


def call(path: str, body: Mapping[str, object], token: str = "") -> Any:
    """POST JSON to Open WebUI and read JSON.

    Raises:
        SystemExit: it answered an error; the text is shown.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{path}: {error.code} {error.read().decode('utf-8', 'replace')[:300]}") from error


def say(text: str) -> None:
    """One headline."""
    print(f"\n== {text}", flush=True)
