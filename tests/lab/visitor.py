"""Open WebUI as a browser reaches it."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass
class Visitor:
    """Somebody outside, at the server's URL."""

    url: str

    def call(self, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
        """HTTP status and JSON; status 0 when nothing answers."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except (OSError, ValueError):
            return 0, None

    def get(self, path: str, body: object = None, token: str = "") -> Any:
        """The JSON of a call that must succeed."""
        status, answer = self.call(path, body, token)
        assert status == 200, f"{path}: {status} {answer}"
        return answer

    def sign_in(self, email: str, password: str) -> str:
        """A token."""
        return str(self.get("/api/v1/auths/signin", {"email": email, "password": password})["token"])

    def add_user(self, email: str, password: str, admin: str) -> str:
        """Let the admin make a normal user; the user's token."""
        new = {"name": email, "email": email, "password": password, "role": "user"}
        self.get("/api/v1/auths/add", new, admin)
        return self.sign_in(email, password)

    def models(self, token: str) -> list[str]:
        """Names that this user sees."""
        return sorted(model["id"] for model in self.get("/api/models", token=token)["data"])

    def say(self, token: str, model: str = "tiny:latest") -> str:
        """The model's answer to a question."""
        messages = [{"role": "user", "content": "When?"}]
        body = {"model": model, "messages": messages, "stream": False, "max_tokens": 8}
        return str(self.get("/api/chat/completions", body, token)["choices"][0]["message"]["content"])
