"""Checks of Open WebUI: it is ready, closed to strangers, and the admin can chat with the declared models."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.models.names import ModelName
from provision.resources.base import Section
from provision.values import Secret, printable, quote
from provision.verify.check import Check, Verdict

_CURL = "curl -sS --noproxy '*' --max-time"
_STATUS = "-w '\\n%{http_code}\\n'"


@dataclass(frozen=True)
class Ready(Check):
    """`/health` and `/ready` say so."""

    url: str
    name = "webui ready"
    needs = ("containers",)

    def question(self) -> str:
        """Both, each with its HTTP status."""
        return "\n".join(f"{_CURL} 10 {_STATUS} {quote(self.url + path)}" for path in ("/health", "/ready"))

    def judge(self, answer: Section) -> Verdict:
        """200 and `{"status": true}`, twice."""
        replies = list(replied(answer, 2))
        complaints = [
            f"{path} answers HTTP {status} {printable(body, 120)}"
            for path, (body, status) in zip(("/health", "/ready"), replies, strict=True)
            if status != 200 or json.loads(body) != {"status": True}
        ]
        return Verdict.of(complaints)


@dataclass(frozen=True)
class Closed(Check):
    """Strangers get nothing: no list of models, and no account unless sign-up is declared."""

    url: str
    signup: bool = False
    name = "webui closed"
    needs = ("webui ready",)

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
class Chat(Check):
    """The admin signs in, sees the declared models and gets a chat completion.

    Signing in is limited to 15 times in 3 minutes, so it is done once.

    Args:
        models: names as Open WebUI lists them; the first one chats.
    """

    url: str
    email: str
    password: Secret = field(repr=False)
    models: tuple[str, ...] = ()
    name = "webui chat"
    needs = ("webui ready",)
    timeout = 660.0

    @property
    def secrets(self) -> Mapping[str, str]:
        """The body of the sign-in."""
        body = {"email": self.email, "password": self.password.reveal()}
        return {"PROVISION_SIGN_IN": json.dumps(body)}

    def question(self) -> str:
        """Sign-in (its status, and its body only where it failed), models, a completion."""
        chat = {
            "model": self.models[0] if self.models else "",
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": False,
            "max_tokens": 8,
        }
        return _CHAT.format(curl=_CURL, status=_STATUS, url=quote(self.url), body=quote(json.dumps(chat)))

    def judge(self, answer: Section) -> Verdict:
        """All three."""
        replies = list(replied(answer))
        body, status = replies[0]
        if status != 200 or len(replies) != 3:
            return Verdict("failed", f"{self.email} cannot sign in: HTTP {status} {printable(body, 160)}")
        (listed, models), (said, chat) = replies[1:]
        if models != 200:
            return Verdict("failed", f"/api/models answers HTTP {models} {printable(listed, 160)}")
        seen = {key(entry["id"]) for entry in json.loads(listed)["data"]}
        missing = [name for name in self.models if key(name) not in seen]
        complaints = [f"models not seen: {', '.join(missing)}"] if missing else []
        if self.models:
            complaints += completed(said, chat)
        return Verdict.of(complaints, f"{len(self.models)} models seen")


# The token stays in a file of root's: arguments are seen by every process.
_CHAT = """\
umask 077
u={url} t=$PROVISION_TMP/webui
printf '%s' "$PROVISION_SIGN_IN" | {curl} 30 {status} -H 'Content-Type: application/json' -d @- \\
    "$u/api/v1/auths/signin" >"$t" || exit 1
sed -n 's/.*"token": *"\\([^"]*\\)".*/Authorization: Bearer \\1/p' "$t" >"$t.token"
if [ ! -s "$t.token" ]; then cat "$t"; exit 0; fi
rm -f "$t"
printf '\\n200\\n'
{curl} 30 {status} -H @"$t.token" "$u/api/models"
{curl} 600 {status} -H @"$t.token" -H 'Content-Type: application/json' -d {body} "$u/api/chat/completions"
rm -f "$t.token"
"""


def completed(text: str, status: int) -> Iterator[str]:
    """What is wrong with a completion."""
    if status != 200:
        yield f"the chat answers HTTP {status} {printable(text, 160)}"
        return
    message: dict[str, Any] = json.loads(text)["choices"][0]["message"]
    if not any(message.get(field) for field in ("content", "reasoning_content")):
        yield "the chat's answer is empty"


def key(name: str) -> str:
    """A model's name for comparing; a name that is none is its own."""
    try:
        return ModelName.parse(name).key
    except ValueError:
        return name


def replied(answer: Section, count: int | None = None) -> Iterator[tuple[str, int]]:
    """(body, HTTP status) of each request; a body of JSON has one line.

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
    if not found or (count is not None and len(found) != count) or any(status == 0 for _, status in found):
        raise ValueError("no answer")
    return iter(found)
