"""Checks of Open WebUI: ready, closed to strangers, its backends, its settings, and a chat as a normal user.

What needs more than HTTP runs in the container (`inside/visit.py`). Signing in is limited to 15 times in 3 minutes, so
the admin does it once: the token waits in a file of root's for the checks that are asked in the same request.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources import open_webui as resources
from provision.resources.base import Pending, Section
from provision.resources.open_webui.instance import DATABASE, MOUNT, Instance, Stored
from provision.resources.open_webui.settings import StoredSettings, has_secret
from provision.values import canonical, printable, quote
from provision.verify.check import Check, Verdict

_CURL = "curl -sS --noproxy '*' --max-time"
_STATUS = "-w '\\n%{http_code}\\n'"
READY = "webui ready"
SIGN_IN = "webui sign-in"
BACKENDS = "webui backends"
_TOKEN = '"$PROVISION_TMP/webui-token"'


@dataclass(frozen=True)
class Ready(Check):
    """`/health` and `/ready` say so."""

    url: str
    name = READY
    needs = ("containers",)

    def question(self) -> str:
        """Both, each with its HTTP status."""
        return "\n".join(f"{_CURL} 10 {_STATUS} {quote(self.url + path)}" for path in ("/health", "/ready"))

    def judge(self, answer: Section) -> Verdict:
        """200 and `{"status": true}`, twice: an unknown path answers 200 with a page."""
        replies = list(replied(answer, 2))
        complaints = [
            f"{path} answers HTTP {status} {printable(body, 120)}"
            for path, (body, status) in zip(("/health", "/ready"), replies, strict=True)
            if status != 200 or not _is_true(body)
        ]
        return Verdict.of(complaints)


def _is_true(body: str) -> bool:
    try:
        return bool(json.loads(body) == {"status": True})
    except ValueError:
        return False


@dataclass(frozen=True)
class Closed(Check):
    """Strangers get nothing: no list of models, and no account unless sign-up is declared."""

    url: str
    signup: bool = False
    name = "webui closed"
    needs = (READY,)

    def question(self) -> str:
        """Models without a token; a sign-up with an address that is none, so that it never makes an account."""
        body = json.dumps({"name": "verify", "email": "verify", "password": "verify"})
        asked = f"{_CURL} 20 {_STATUS} {quote(self.url + '/api/models')}\n"
        return asked + (
            f"{_CURL} 20 {_STATUS} -H 'Content-Type: application/json' -d {quote(body)} "
            f"{quote(self.url + '/api/v1/auths/signup')}"
        )

    def judge(self, answer: Section) -> Verdict:
        """401; and 403, where 400 would mean that only the address was refused."""
        (_, models), (_, signup) = replied(answer, 2)
        complaints = [] if models == 401 else [f"/api/models answers HTTP {models} to strangers, not 401"]
        if signup != 403 and not self.signup:
            complaints.append(f"sign-up is open: it answers HTTP {signup}, not 403")
        return Verdict.of(complaints)


@dataclass(frozen=True)
class Backends(Check):
    """Every backend is Ollama and answers from inside the container.

    Args:
        instance: whose container.
        backends: URLs.
        local: one of them is the Ollama of this host, which has checks of its own.
    """

    instance: Instance
    backends: tuple[str, ...]
    local: bool = False
    name = BACKENDS
    timeout = 120.0

    @property
    def needs(self) -> tuple[str, ...]:
        """The container; and the server of this host."""
        return ("containers", "ollama version") if self.local else ("containers",)

    def question(self) -> str:
        """`/api/version` of each."""
        return visit(self.instance, "backends", {"backends": self.backends}, 90)

    def judge(self, answer: Section) -> Verdict:
        """Each tells a version."""
        found = told(answer)
        complaints = [
            f"{url} does not answer from inside the container: {printable(complaint, 200)}"
            for url, (version, complaint) in found.items()
            if not version
        ]
        if set(found) != set(self.backends):
            raise ValueError("not all backends were asked")
        return Verdict.of(complaints, ", ".join(f"{url} {version}" for url, (version, _) in found.items()))


@dataclass(frozen=True)
class SignIn(Check):
    """The admin signs in with the declared password."""

    instance: Instance
    name = SIGN_IN
    needs = (READY,)
    timeout = 270.0

    def question(self) -> str:
        """A sign-in, whose token stays on the host."""
        sign_in = visit(self.instance, "sign-in", {}, 240)
        return f"umask 077\n{sign_in} >{_TOKEN} || exit 1\n[ -s {_TOKEN} ] && echo in\n"

    def judge(self, answer: Section) -> Verdict:
        """It gave a token."""
        if answer.text.strip() == "in" and not answer.rc:
            return Verdict("passed", self.instance.email)
        said = printable(answer.err.decode("utf-8", "replace").strip().rpartition("\n")[2], 300)
        return Verdict("failed", f"{self.instance.email} cannot sign in: {said or f'exit status {answer.rc}'}")


def _with_token(instance: Instance, command: str) -> str:
    sign_in = visit(instance, "sign-in", {}, 240)
    return (
        f"umask 077\n[ -e {_TOKEN} ] || {sign_in} >{_TOKEN}\n"
        f"if [ ! -s {_TOKEN} ]; then echo no-token; exit 0; fi\n{command} <{_TOKEN}\n"
    )


class _AsAdmin(Check):
    """A check that goes on with the token of `SignIn`. It is asked in the same request, after it.

    Where the sign-in failed it is blocked by it; `needs` cannot say so, for the token does not outlive a request.
    """

    def judge(self, answer: Section) -> Verdict:
        """Blocked without a token, else `judge_told`."""
        if answer.text.strip() == "no-token":
            return Verdict("blocked", f"blocked by {SIGN_IN}")
        return self.judge_told(told(answer))

    @abstractmethod
    def judge_told(self, answer: Any) -> Verdict:
        """What the answer means. Pure."""


@dataclass(frozen=True)
class Settings(_AsAdmin):
    """The running server has the declared settings: the environment only seeds them at the first start."""

    declared: StoredSettings
    name = "webui settings"
    needs = (READY,)
    timeout = 330.0

    @property
    def instance(self) -> Instance:
        """Of the resource."""
        return self.declared.instance

    def question(self) -> str:
        """The server's export: the declared keys, of secret ones the hash."""
        secret = sorted(key for key, value in self.declared.values.items() if has_secret(value))
        asked = {"keys": sorted(self.declared.values.keys() - set(secret)), "hashed": secret}
        return _with_token(self.instance, visit(self.instance, "settings", asked, 60, stdin=True))

    def judge_told(self, answer: Any) -> Verdict:
        """As the resource compares them; secrets are elided."""
        stored = Stored(users=1, values=dict(answer["values"]), hashes=dict(answer["hashes"]))
        change = self.declared.plan(stored, Pending())
        if change is None:
            return Verdict("passed", f"{len(self.declared.values)} as declared")
        return Verdict.of(
            [
                printable(f"{key} is {canonical(change.before[key])}, declared is {canonical(change.after[key])}", 300)
                for key in change.after
            ]
        )


@dataclass(frozen=True)
class Chat(_AsAdmin):
    """A normal user, made for this and removed after, sees all declared models and gets answers.

    From the first model, streamed and not; and from every backend, by a model that is declared there.

    Args:
        container: whose container.
        models: names as Open WebUI lists them.
        backends: URL and models of each, in the order in which they are stored.
    """

    container: Instance
    models: tuple[str, ...] = ()
    backends: tuple[tuple[str, tuple[str, ...]], ...] = ()
    name = "webui chat"
    needs = (READY, BACKENDS)
    timeout = 1600.0

    @property
    def instance(self) -> Instance:
        """Whose container."""
        return self.container

    def question(self) -> str:
        """The user's visit."""
        backends = [{"url": url, "models": models} for url, models in self.backends]
        asked = {"models": self.models, "group": self.instance.group, "backends": backends}
        return _with_token(self.instance, visit(self.instance, "chat", asked, 1300, stdin=True))

    def judge_told(self, answer: Any) -> Verdict:
        """Models, both answers, and those of the backends."""
        seen = {key(name) for name in answer["seen"]}
        missing = [name for name in self.models if key(name) not in seen]
        complaints = [f"a normal user does not see {', '.join(missing)}"] if missing else []
        if self.models and "model" in answer:
            complaints += list(_answers(answer))
        return Verdict.of(complaints, f"{len(self.models)} models seen, {len(answer['backends'])} backends answer")


def _answers(answer: Mapping[str, Any]) -> Iterator[str]:
    for kind, words in (("whole", "not streamed"), ("stream", "streamed")):
        text, complaint = answer[kind]
        if complaint or not text.strip():
            yield f"{answer['model']}, {words}: {printable(complaint, 300) or 'the answer is empty'}"
    for url, (model, text, complaint) in answer["backends"].items():
        if complaint or not text.strip():
            yield f"{model} through {printable(url, 200)}: {printable(complaint, 300) or 'the answer is empty'}"


def visit(instance: Instance, action: str, question: Mapping[str, Any], timeout: int, stdin: bool = False) -> str:
    """The command that runs an action of `inside/visit.py` in the container."""
    common = {"database": DATABASE, "secrets": MOUNT, "email": instance.email, "url": instance.url}
    return (
        f"docker exec {'-i ' if stdin else ''}{quote(instance.container)} timeout {timeout} "
        f"python3 -c {quote(program())} {quote(action)} {quote(canonical({**common, **question}))}"
    )


def program() -> str:
    """`visit.py` after the files that it imports from: in the container there is no package of ours."""
    inside = Path(resources.__file__).parent / "inside"
    texts = ((inside / name).read_text() for name in ("stored.py", "actions.py"))
    before = [text.partition("\n\nif __name__ ==")[0] for text in texts]
    own = re.sub(r"(?m)^from provision\.\S+ import (\([^)]*\)|.*)\n", "", (inside / "visit.py").read_text())
    return "\n\n".join((*before, own))


def told(answer: Section) -> Any:
    """The JSON that an action printed.

    Raises:
        ValueError: it failed; with its own words.
    """
    if answer.rc:
        said = answer.err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ValueError(printable(said, 300) or f"exit status {answer.rc}")
    return json.loads(answer.text)


def key(name: str) -> str:
    """A model's name for comparing; a name that is none is its own."""
    try:
        return ModelName.parse(name).key
    except ValueError:
        return name


def replied(answer: Section, count: int) -> Iterator[tuple[str, int]]:
    """(body, HTTP status) of each request; the last line of a body counts.

    Raises:
        ValueError: there are not `count`, or one had no answer.
    """
    lines = [line for line in answer.lines if line.strip()]
    found: list[tuple[str, int]] = []
    body = ""
    for line in lines:
        if len(line) == 3 and line.isdigit():
            found.append((body, int(line)))
            body = ""
        else:
            body = line
    if len(found) != count or any(status == 0 for _, status in found):
        raise ValueError("no answer")
    return iter(found)
