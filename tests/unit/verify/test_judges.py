"""Every check judges recorded answers: one that passes, and those that must not."""

import json
from typing import Any

import pytest

from provision.accelerators import Computing
from provision.facts.model import GPU
from provision.resources.base import Section
from provision.resources.file import Directory, File
from provision.resources.model_store import Server
from provision.resources.service import Service
from provision.resources.user import Group, User
from provision.values import sha256
from provision.verify.check import Check, judged
from provision.verify.checks.generation import Generation
from provision.verify.checks.ollama import Libraries, NoCloud, OneOllama, Version
from provision.verify.checks.secrets import Secrets
from provision.verify.checks.services import ServiceRuns, declared_variables
from provision.verify.checks.system import Files, Packages, Users

SERVER = Server()
PACKAGES = Packages(("curl", "zstd"))
RPMS = Packages(("curl|curl-minimal", "zstd"), "dnf")
FILES = Files((File("/etc/a", "x", mode="0640"), Directory("/srv/b")))
ESCAPED = Files((File("/etc/a\\x2d", "x", mode="0640"), Directory("/srv/b")))
USERS = Users((User("ollama", "/srv/o", groups=("video",)),), (Group("office"),))
SERVICES = ServiceRuns("ollama.service", (Service("ollama", spec="abc"),), {"A": "b c"})
SERVER_OF_OURS = Version("0.9.3", SERVER, "/opt/ollama/0.9.3/bin/ollama")
GENERATION = Generation("tiny", SERVER)
ON_GPU = Generation("tiny", SERVER, (Computing(GPU("0000:01:00.0", "nvidia", "2684", "nvidia"), "cuda"),))
FAST = Generation("tiny", SERVER, floor=100)
SECRETS = Secrets(("/etc/key",), ("correct-horse",))

UNIT = 'ActiveState={}\nUnitFileState={}\nMainPID=7\nEnvironment=PROVISION_SPEC={} "A=b c"\n'
PROCESS = "file={}\nprocess:\nPROVISION_SPEC={}\nA={}\n"
GOOD_UNIT = UNIT.format("active", "enabled", "abc")
LINE: dict[str, Any] = {"model": "tiny", "response": "a", "done": False}
LAST = {**LINE, "done": True, "eval_count": 8, "eval_duration": 200_000_000, "load_duration": 500_000_000}
LOADED = {"name": "tiny:latest", "size": 1000, "size_vram": 0}


def generated(
    whole: object = LAST, stream: tuple[object, ...] = (LINE, LAST), other: str = "", **loaded: object
) -> str:
    """What the question of a generation prints; `other` are the weights of what is loaded, if it is not the model."""
    lines = "\n".join(json.dumps(line) for line in stream)
    parts = [json.dumps(whole), lines + "\n", json.dumps({"models": [{**LOADED, **loaded}]})]
    name = loaded.get("name", "tiny:latest")
    parts.append(f"tiny:latest FROM /m/blobs/sha256-aa\n{name} {other or 'FROM /m/blobs/sha256-aa'}\n")
    return "\n--provision-next--\n".join(parts)


def on_gpu(size_vram: int, parameters: str = "", seen: str = "") -> str:
    """The same with a GPU."""
    parts = [generated(size_vram=size_vram), json.dumps({"parameters": parameters}), seen]
    return "\n--provision-next--\n".join(parts)


def file_lines(
    mode: str = "640", kind: str = "f", owner: str = "root", text: str = "x", path: str = "/etc/a", mark: str = ""
) -> str:
    """What the question of files prints."""
    listed = f"{kind} {mode} root root {path}\nd 755 {owner} root /srv/b/.\n"
    return f"{listed}\n{mark}{sha256(text)}  {path.replace(mark, mark * 2) if mark else path}\nend\n"


def tags(*names: str, **more: str) -> str:
    """The answer of /api/tags."""
    return json.dumps({"models": [{"name": name, **more} for name in names]})


PASSES = [
    (PACKAGES, "curl install ok installed\ncurl:amd64 install ok installed\nzstd hold ok installed\n"),
    (Packages(("curl:amd64",)), "curl install ok installed\ncurl:amd64 install ok installed\n"),
    (RPMS, "bash installed\ncurl-minimal installed\nzstd installed\n"),
    (FILES, file_lines()),
    (ESCAPED, file_lines(path="/etc/a\\x2d", mark="\\")),
    (USERS, "user ollama /srv/o\nin ollama ollama video\ngroup office\nend\n"),
    (SERVICES, GOOD_UNIT + PROCESS.format("abc", "abc", "b c")),
    (SECRETS, "mode 600 /etc/key\nend\n"),
    (Version("0.9.3", SERVER), 'exe=/usr/bin/ollama\n{"version":"0.9.3"}'),
    (SERVER_OF_OURS, 'exe=/opt/ollama/0.9.3/bin/ollama\n{"version":"0.9.3"}'),
    (OneOllama(), "/usr/local/bin/ollama\n"),
    (Libraries("/opt/ollama/0.32.15/lib/ollama", ("rocm",)), "cuda_v12\nrocm_v7_2\nvulkan\n"),
    (NoCloud(SERVER), "cloud=1\n" + tags("tiny:latest")),
    (GENERATION, generated()),
    (GENERATION, generated(name="base:latest")),
    (ON_GPU, on_gpu(1000)),
    (Generation("tiny", SERVER, floor=39), generated()),
]

FAILS = [
    (PACKAGES, "curl install ok installed\n", "not installed: zstd"),
    (RPMS, "bash installed\nzstd installed\n", "not installed: curl|curl-minimal"),
    (PACKAGES, "curl install ok installed\nzstd deinstall ok config-files\n", "not installed: zstd"),
    (FILES, file_lines(mode="644"), "/etc/a has mode 0644, not 0640"),
    (FILES, file_lines(owner="ollama"), "/srv/b belongs to ollama:root, not root:root"),
    (FILES, "d 755 root root /srv/b/.\n\nend\n", "/etc/a is not there"),
    (FILES, "\nend\n", "/etc/a is not there; /srv/b is not there"),
    (FILES, file_lines(kind="l"), "/etc/a is no file"),
    (FILES, file_lines(text="y"), "/etc/a has another content than declared"),
    (FILES, file_lines().replace(sha256("x"), "x"), "/etc/a has another content than declared"),
    (FILES, "f 640 root root /etc/a\nd 755 root root /srv/b/.\n\nend\n", "/etc/a has another content than declared"),
    (FILES, "f 640 root root /etc/a\nd 755 root root /srv/b/.\n", "cannot be asked"),
    (ESCAPED, file_lines(path="/etc/a\\x2d", mark="\\", text="y"), "has another content than declared"),
    (FILES, "", "cannot be asked"),
    (USERS, "in ollama \ngroup office\nend\n", "there is no user ollama"),
    (USERS, "user ollama /home/o\nin ollama video\ngroup office\nend\n", "the home of ollama is /home/o, not /srv/o"),
    (USERS, "user ollama /srv/o\nin ollama ollama\ngroup office\nend\n", "ollama is not in the group video"),
    (USERS, "user ollama /srv/o\nin ollama video\nend\n", "there is no group office"),
    (USERS, "user ollama /srv/o\n", "cannot be asked"),
    (SERVICES, UNIT.format("inactive", "enabled", "abc"), "ollama.service is inactive"),
    (SERVICES, UNIT.format("active", "disabled", "abc") + PROCESS.format("abc", "abc", "b c"), "disabled at boot"),
    (SERVICES, GOOD_UNIT + PROCESS.format("abc", "abc", "old"), "runs with another A than its unit says"),
    (SERVICES, GOOD_UNIT + PROCESS.format("new", "abc", "b c"), "runs with another PROVISION_SPEC than its unit says"),
    (SERVICES, UNIT.format("active", "enabled", "x") + PROCESS.format("x", "x", "b c"), "older settings than declared"),
    (SERVICES, UNIT.format("active", "", "abc") + PROCESS.format("abc", "abc", "b c"), "not there at boot"),
    (
        SERVICES,
        GOOD_UNIT.replace("A=b c", "A=x") + PROCESS.format("abc", "abc", "x"),
        "the process of ollama.service runs with another A than declared",
    ),
    (SERVICES, "", "cannot be asked"),
    (SECRETS, "mode 644 /etc/key\nend\n", "/etc/key has mode 0644, not 0600"),
    (SECRETS, "mode - /etc/key\nend\n", "/etc/key is not there"),
    (
        SECRETS,
        "mode 600 /etc/key\nfound /etc/key.bak, which everybody can read\nend\n",
        "a secret stands in /etc/key.bak, which everybody can read",
    ),
    (SECRETS, "mode 600 /etc/key\n", "cannot be asked"),
    (SERVER_OF_OURS, 'exe=/tmp/ollama\n{"version":"0.9.3"}', "its process runs /tmp/ollama, not /opt/ollama/0.9.3"),
    (SERVER_OF_OURS, 'exe=\n{"version":"0.9.3"}', "its process runs nothing"),
    (SERVER_OF_OURS, 'exe=/opt/x (deleted)\n{"version":"0.9.3"}', "which was replaced since: restart it"),
    (Version("0.9.3", SERVER), 'exe=\n{"version":"0.9.4"}', "0.9.4 answers on port 11434, 0.9.3 is declared"),
    (Version("0.9.3", SERVER), "", "cannot be asked"),
    (OneOllama(), "/usr/bin/ollama\n/usr/local/bin/ollama\n", "2 in PATH: /usr/bin/ollama, /usr/local/bin/ollama"),
    (OneOllama(), "", "none is in PATH"),
    (
        Libraries("/opt/ollama/0.32.15/lib/ollama", ("rocm", "vulkan")),
        "cuda_v12\nvulkan\n",
        "/opt/ollama/0.32.15/lib/ollama has no rocm*: its GPU is not used",
    ),
    (NoCloud(SERVER), "cloud=\n" + tags("tiny:latest"), "without OLLAMA_NO_CLOUD=1"),
    (NoCloud(SERVER), "cloud=1\n" + tags("big:120b-cloud"), "big:120b-cloud runs at ollama.com"),
    (NoCloud(SERVER), "cloud=1\n" + tags("big:120b", remote_host="https://ollama.com"), "runs at ollama.com"),
    (GENERATION, generated(whole={"error": "model not found"}), "not streamed: error: model not found"),
    (GENERATION, generated(whole={**LAST, "done": False}), "not streamed: it never said done"),
    (GENERATION, generated(whole={**LAST, "eval_count": 0}), "not streamed: not one token was generated"),
    (GENERATION, generated(stream=(LINE, LINE)), "streamed: it never said done"),
    (GENERATION, generated(stream=(LAST, LAST)), "streamed: it was done before its last line"),
    (GENERATION, generated(stream=(LINE, {"error": "out of memory"}, LAST)), "streamed: error: out of memory"),
    (GENERATION, generated(stream=("no object", LAST)), "cannot be asked"),
    (GENERATION, generated(name="other:latest", other="FROM /m/blobs/sha256-bb"), "not in memory after it answered"),
    (GENERATION, generated().replace("}", "", 1), "cannot be asked"),
    (GENERATION, "", "cannot be asked"),
    (ON_GPU, on_gpu(400), "600 B of 1.0 kB are on the CPU"),
    (ON_GPU, generated(size_vram=1000), "cannot be asked: 4 answers"),
    (FAST, generated(), "40.0 tokens/s, at least 100 are demanded"),
]


@pytest.mark.parametrize(("check", "out"), PASSES)
def test_what_is_as_declared_passes(check: Check, out: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("check", "out", "cause"), FAILS)
def test_what_is_wrong_fails_with_its_cause(check: Check, out: str, cause: str) -> None:
    verdict = judged(check, Section(0, out.encode()))
    assert verdict.status == "failed"
    assert cause in verdict.message


def test_a_complaint_of_the_host_says_why_a_check_cannot_be_asked() -> None:
    verdict = judged(Version("0.9.3", SERVER), Section(7, b"", b"curl: (7) Failed to connect\n"))
    assert verdict.message == "cannot be asked: curl: (7) Failed to connect"


def test_a_generation_reports_speed_and_time_to_load() -> None:
    verdict = judged(GENERATION, Section(0, generated().encode()))
    assert verdict.figures == {"tokens_per_second": 40.0, "load_seconds": 0.5}


def test_an_embedding_model_is_skipped_visibly() -> None:
    out = generated(whole={"error": '"nomic" does not support generate'})
    verdict = judged(GENERATION, Section(0, out.encode()))
    assert (verdict.status, verdict.message) == ("skipped", "it makes embeddings only")


def test_secrets_travel_in_no_question() -> None:
    assert "correct-horse" not in SECRETS.question()
    assert any("correct-horse" in value for value in SECRETS.secrets.values())
    assert "correct-horse" not in repr(SECRETS)


def test_the_declared_environment_of_a_unit_is_that_of_its_own_files_the_last_one_wins() -> None:
    folder = "/etc/systemd/system/"
    files = [
        File(folder + "a.service.d/50.conf", '[Service]\nEnvironment="B=2 3"\nEnvironment=P=5%%\n'),
        File(folder + "a.service", "[Service]\nEnvironment=A=1 B=1\nExecStart=x\n"),
        File(folder + "b.service", "[Service]\nEnvironment=C=1\n"),
    ]
    assert declared_variables("a.service", files) == {"A": "1", "B": "2 3", "P": "5%"}
