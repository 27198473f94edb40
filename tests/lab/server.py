"""The Ollama server of a host, asked by its API on that host."""

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.hosts import LabHost
from tests.lab.wait import until

URL = "http://127.0.0.1:11434/api"


@dataclass(frozen=True)
class Server:
    """The server at its usual port."""

    host: LabHost

    def get(self, call: str) -> Any:
        """What it answers to `GET /api/CALL`."""
        return json.loads(self.host.check(f"curl -sS {URL}/{call}"))

    def post(self, call: str, **body: Any) -> Any:
        """The same for `POST`."""
        self.host.put("/root/body.json", json.dumps(body).encode())
        return json.loads(self.host.check(f"curl -sS --data-binary @/root/body.json {URL}/{call}"))

    def wait(self) -> None:
        """Until it answers."""
        until(lambda: self.host.exec(f"curl -sSf {URL}/version").rc == 0, "ollama", 60)

    def digests(self) -> dict[str, str]:
        """Its models: name -> digest of the manifest."""
        return {model["name"]: model["digest"] for model in self.get("tags")["models"]}

    def names(self) -> list[str]:
        """Of its models."""
        return sorted(self.digests())

    def loaded(self) -> list[str]:
        """Names of the models in its memory."""
        return [model["name"] for model in self.get("ps")["models"]]

    def unload(self, model: str) -> None:
        """Ask it to forget a model; `loaded` shows when it has."""
        self.post("generate", model=model, keep_alive=0)

    def generate(self, model: str, **options: Any) -> Any:
        """A short answer."""
        options = {"num_predict": 3} | options
        return self.post("generate", model=model, prompt="the first day", stream=False, options=options)
