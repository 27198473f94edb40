"""What `verify` asks from inside Open WebUI's container: `python3 -c ... ACTION QUESTION`.

`QUESTION` is that of `actions.py`, whose text stands before this one. `sign-in` prints a token of the admin; the other
actions take it on stdin. The answer is one JSON object. A failure is one line on stderr and status 1.
"""

import json
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from provision.resources.open_webui.inside.actions import (
    Question,
    Refused,
    call,
    detail,
    sign_in,
)
from provision.resources.open_webui.inside.stored import digest

DOMAIN = "verify.provision.invalid"
"""Of the addresses of our temporary users; nobody can have one (RFC 2606)."""
STALE = 3600
"""Seconds after which a temporary user is a leftover of a killed run, and not another run's."""
TOKENS = 8


def backends(question: Question) -> dict[str, Any]:
    """The version that each backend tells from here, or why it does not: url -> [version, complaint]."""
    found = {}
    for url in question["backends"]:
        try:
            found[url] = [str(call({"url": url}, "/api/version", timeout=10)["version"]), ""]
        except (Refused, KeyError, TypeError) as error:
            found[url] = ["", str(error)[:300]]
    return found


def settings(question: Question, token: str) -> dict[str, Any]:
    """What the running server believes: values of `keys`, hashes of canonical JSON of `hashed`."""
    there = call(question, "/api/v1/configs/export", token=token)
    return {
        "values": {key: there[key] for key in question["keys"] if key in there},
        "hashes": {key: digest(json.dumps(there[key])) for key in question["hashed"] if key in there},
    }


def chat(question: Question, token: str) -> dict[str, Any]:
    """As a normal user, who exists for this alone: the models seen, an answer of the first one, whole and streamed.

    And an answer from each backend that has one of them: url -> [model, text, complaint].
    """
    for old in leftovers(question, token):
        call_delete(question, f"/api/v1/users/{old}", token)
    email = f"{int(time.time())}-{secrets.token_hex(4)}@{DOMAIN}"
    # A server may demand characters of each kind.
    password = f"Aa1-{secrets.token_urlsafe(24)}"
    new = {"name": "verify", "email": email, "password": password, "role": "user"}
    user = call(question, "/api/v1/auths/add", new, token)["id"]
    try:
        if question["group"]:
            join(question, user, token)
        mine = call(question, "/api/v1/auths/signin", {"email": email, "password": password})["token"]
        seen = [str(model["id"]) for model in call(question, "/api/models", token=mine)["data"]]
        answer: dict[str, Any] = {"seen": seen}
        model = next((name for name in question["models"] if name in seen), "")
        if model:
            answer |= {"model": model, "whole": whole(question, model, mine), "stream": stream(question, model, mine)}
        return answer | {"backends": through_each(question, seen, mine)}
    finally:
        call_delete(question, f"/api/v1/users/{user}", token)


def leftovers(question: Question, token: str) -> Iterator[str]:
    """Users of ours that a killed run left."""
    for user in call(question, "/api/v1/users/all", token=token)["users"]:
        name, _, domain = str(user.get("email")).partition("@")
        made = name.partition("-")[0]
        if domain == DOMAIN and made.isdigit() and time.time() - int(made) > STALE:
            yield user["id"]


def join(question: Question, user: str, token: str) -> None:
    """Put the user into the group that may use the models.

    Raises:
        Refused: there is no such group.
    """
    groups = call(question, "/api/v1/groups/", token=token)
    found = [group["id"] for group in groups if group["name"] == question["group"]]
    if not found:
        raise Refused(404, f"there is no group {question['group']}")
    call(question, f"/api/v1/groups/id/{found[0]}/users/add", {"user_ids": [user]}, token)


def body(model: str, streamed: bool) -> dict[str, Any]:
    """A completion of a few tokens."""
    messages = [{"role": "user", "content": "Say hello."}]
    return {"model": model, "messages": messages, "stream": streamed, "max_tokens": TOKENS}


def whole(question: Question, model: str, token: str) -> list[str]:
    """The text of an answer in one piece, and what is wrong: [text, complaint]."""
    try:
        answer = call(question, "/api/chat/completions", body(model, False), token, timeout=600)
        return [said(answer["choices"][0]["message"]), ""]
    except Refused as error:
        return ["", str(error)]
    except (KeyError, IndexError, TypeError):
        return ["", f"no completion: {json.dumps(answer)[:200]}"]


def through_each(question: Question, seen: list[str], token: str) -> dict[str, list[str]]:
    """An answer from every backend, by the first of its models that the user sees: url -> [model, text, complaint].

    All at once: they are servers of their own, and each may have to load its model.
    """
    # By its place among the stored URLs: a model that several backends have is answered by any of them otherwise.
    asked = [
        (index, backend["url"], model)
        for index, backend in enumerate(question["backends"])
        if (model := next((name for name in backend["models"] if name in seen), ""))
    ]
    with ThreadPoolExecutor(len(asked) or 1) as pool:
        answers = pool.map(lambda one: [one[2], *through(question, one[0], one[2], token)], asked)
        return {url: answer for (_, url, _), answer in zip(asked, answers, strict=True)}


def through(question: Question, index: int, model: str, token: str) -> list[str]:
    """The text of a backend's answer, and what is wrong: [text, complaint]."""
    asked = {name: body(model, False)[name] for name in ("model", "messages", "stream")}
    asked["options"] = {"num_predict": TOKENS}
    try:
        return [said(call(question, f"/ollama/api/chat/{index}", asked, token, timeout=600)["message"]), ""]
    except Refused as error:
        return ["", str(error)]
    except (KeyError, TypeError):
        return ["", "no completion"]


def stream(question: Question, model: str, token: str) -> list[str]:
    """The text of a streamed answer, and what is wrong: [text, complaint]."""
    request = urllib.request.Request(question["url"] + "/api/chat/completions", json.dumps(body(model, True)).encode())
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=600) as answer:
            return events(line.decode("utf-8", "replace").rstrip("\r\n") for line in answer)
    except urllib.error.HTTPError as error:
        return ["", f"HTTP {error.code}: {detail(error.read())}"]
    except OSError as error:
        return ["", str(error)]


def events(lines: Iterator[str]) -> list[str]:
    """Every line of a stream: `data: JSON` with a piece of text, in the end `data: [DONE]`; [text, complaint]."""
    text, done = "", False
    for line in lines:
        if not line or line.startswith(":"):
            continue
        data = line.removeprefix("data: ")
        if done or data == line:
            return [text, f"{'a line after its end' if done else 'not an event'}: {line[:200]}"]
        if data == "[DONE]":
            done = True
            continue
        try:
            piece = json.loads(data)
            if piece.get("error"):
                return [text, f"an error in the stream: {json.dumps(piece['error'])[:200]}"]
            text += "".join(said(choice.get("delta") or {}) for choice in piece.get("choices") or [])
        except (ValueError, AttributeError, TypeError):
            return [text, f"not an event: {line[:200]}"]
    return [text, "" if done else "it ended without [DONE]"]


def said(message: dict[str, Any]) -> str:
    """The text of a message or of a piece of one; a model that thinks first may not get further in a few tokens."""
    return "".join(str(message.get(name) or "") for name in ("reasoning_content", "reasoning", "thinking", "content"))


def call_delete(question: Question, path: str, token: str) -> None:
    """DELETE.

    Raises:
        Refused: the server refuses.
    """
    request = urllib.request.Request(question["url"] + path, method="DELETE")
    request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=60).close()
    except urllib.error.HTTPError as error:
        raise Refused(error.code, f"{path}: HTTP {error.code}: {detail(error.read())}") from error
    except OSError as error:
        raise Refused(0, f"{path}: {error}") from error


def main() -> None:
    """Run one action. The user is removed also when `timeout` ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it took too long"))
    action, question = sys.argv[1], json.loads(sys.argv[2])
    try:
        if action == "sign-in":
            print(sign_in(question))
        elif action == "backends":
            print(json.dumps(backends(question)))
        else:
            actions = {"settings": settings, "chat": chat}
            print(json.dumps(actions[action](question, sys.stdin.read().strip())))
    except Refused as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
