"""Checks of an Ollama server: which one runs, what it has, and that it really generates."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.models.names import ModelName
from provision.resources.base import Section
from provision.resources.model_store import Server
from provision.values import human_bytes, printable, quote
from provision.verify.check import Check, Verdict

_CURL = "curl -sS --noproxy '*' --max-time"
PROMPT = "Say in one sentence what a server is."


@dataclass(frozen=True)
class Version(Check):
    """The server that answers is the pinned one."""

    version: str
    server: Server
    name = "ollama version"
    needs = ("services",)

    def question(self) -> str:
        """`/api/version`."""
        return f"{_CURL} 10 {quote(self.server.url('version'))}"

    def judge(self, answer: Section) -> Verdict:
        """Its version."""
        found = loaded(answer)["version"]
        wrong = [f"{found} answers on port {self.server.port}, {self.version} is declared"]
        return Verdict.of(wrong if found != self.version else [], str(found))


@dataclass(frozen=True)
class OneOllama(Check):
    """Exactly one `ollama` is in PATH: with a second one, commands and server disagree."""

    name = "one ollama"

    def question(self) -> str:
        """Every one in PATH; directories that are links (/bin) count once."""
        return (
            "echo \"$PATH:/snap/bin\" | tr ':' '\\n' | while read -r d; do\n"
            'd=$(readlink -f "$d") && [ -x "$d/ollama" ] && echo "$d/ollama"\ndone | sort -u\n'
        )

    def judge(self, answer: Section) -> Verdict:
        """One line."""
        found = answer.lines
        text = f"{len(found)} in PATH: {', '.join(found)}" if found else "none is in PATH"
        return Verdict.of([text] if len(found) != 1 else [], "".join(found))


@dataclass(frozen=True)
class Models(Check):
    """The server has the declared models."""

    names: tuple[str, ...]
    server: Server
    name = "models"
    needs = ("ollama version",)

    def question(self) -> str:
        """`/api/tags`."""
        return f"{_CURL} 20 {quote(self.server.url('tags'))}"

    def judge(self, answer: Section) -> Verdict:
        """Every name is listed."""
        listed = {ModelName.parse(entry["name"]).key for entry in loaded(answer)["models"]}
        missing = [name for name in self.names if ModelName.parse(name).key not in listed]
        return Verdict.of([f"missing: {', '.join(missing)}"] if missing else [], f"{len(self.names)} there")


@dataclass(frozen=True)
class NoCloud(Check):
    """The server's process has OLLAMA_NO_CLOUD, and no model is a stub of one at ollama.com."""

    server: Server
    name = "no cloud"
    needs = ("ollama version",)

    def question(self) -> str:
        """The process's variable, then `/api/tags`."""
        return (
            "p=$(systemctl show --value -p MainPID -- ollama.service)\n"
            "echo \"cloud=$(tr '\\0' '\\n' <\"/proc/$p/environ\" | sed -n 's/^OLLAMA_NO_CLOUD=//p')\"\n"
            f"{_CURL} 20 {quote(self.server.url('tags'))}"
        )

    def judge(self, answer: Section) -> Verdict:
        """A true value, and models that all have their weights here."""
        value, _, tags = answer.text.partition("\n")
        models = loaded(Section(answer.rc, tags.encode(), answer.err))["models"]
        stubs = [entry["name"] for entry in models if entry.get("remote_host") or ModelName.parse(entry["name"]).remote]
        complaints = [] if value in ("cloud=1", "cloud=true") else ["the server runs without OLLAMA_NO_CLOUD=1"]
        return Verdict.of(complaints + [f"{name} runs at ollama.com" for name in stubs])


@dataclass(frozen=True)
class Generation(Check):
    """A model generates, streamed and not; on the GPU where there is a usable one; not too slowly.

    Args:
        model: its declared name.
        gpu: the host has a usable NVIDIA GPU, so all of the model must be on it.
        floor: tokens a second.
    """

    model: str
    server: Server
    gpu: bool = False
    floor: float | None = None
    needs = ("models",)
    timeout = 1260.0

    @property
    def name(self) -> str:
        """`generation NAME`."""
        return f"generation {self.model}"

    def question(self) -> str:
        """The answer, the stream and `/api/ps`, separated by empty lines."""
        url = quote(self.server.url("generate"))
        lines = []
        for stream in (False, True):
            body = {"model": self.model, "prompt": PROMPT, "stream": stream, "options": {"num_predict": 8}}
            lines.append(f"{_CURL} 600 {url} -d {quote(json.dumps(body))} || exit 1\necho; echo")
        return "\n".join((*lines, f"{_CURL} 20 {quote(self.server.url('ps'))}"))

    def judge(self, answer: Section) -> Verdict:
        """Every line of both answers, the speed, and where the weights are."""
        whole, stream, ps = self._parts(answer)
        if "does not support generate" in str(whole.get("error", "")):
            return Verdict("skipped", "it makes embeddings only")
        complaints = [f"not streamed: {text}" for text in answered([whole])]
        complaints += [f"streamed: {text}" for text in answered(stream)]
        if complaints:
            return Verdict.of(complaints)
        speed = whole["eval_count"] / max(whole.get("eval_duration", 0), 1) * 1e9
        load = whole.get("load_duration", 0) / 1e9
        complaints += self._placed(ps)
        if self.floor and speed < self.floor:
            complaints.append(f"{speed:.1f} tokens/s, at least {self.floor:g} are demanded")
        figures = {"tokens_per_second": round(speed, 2), "load_seconds": round(load, 3)}
        text = "; ".join(complaints) or f"{speed:.1f} tokens/s, loaded in {load:.1f} s"
        return Verdict("failed" if complaints else "passed", text, figures)

    def _parts(self, answer: Section) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
        parts = [list(lines_of(part)) for part in answer.text.split("\n\n") if part.strip()]
        if answer.rc or len(parts) != 3:
            raise ValueError(f"{len(parts)} of 3 answers, exit status {answer.rc}")
        return parts[0][0], parts[1], parts[2][0]

    def _placed(self, ps: Mapping[str, Any]) -> Iterator[str]:
        key = ModelName.parse(self.model).key
        entry = next((one for one in ps["models"] if ModelName.parse(one["name"]).key == key), None)
        if entry is None:
            yield "it is not in memory after it answered"
        elif self.gpu and entry.get("size_vram", 0) < entry["size"]:
            rest = entry["size"] - entry.get("size_vram", 0)
            yield (
                f"{human_bytes(rest)} of {human_bytes(entry['size'])} are on the CPU although the GPU is usable: "
                "it is too large for the GPU's free memory, num_gpu or OLLAMA_GPU_OVERHEAD limit it, or the server "
                "started before the driver (see `journalctl -u ollama`)"
            )


def loaded(answer: Section) -> Any:
    """JSON of an answer.

    Raises:
        ValueError: there is none.
    """
    if answer.rc:
        raise ValueError(f"exit status {answer.rc}")
    return json.loads(answer.text)


def lines_of(text: str) -> Iterator[dict[str, Any]]:
    """NDJSON: one object a line."""
    for line in text.splitlines():
        if line.strip():
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"no JSON object: {printable(line, 80)}")
            yield value


def answered(lines: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong with the lines of a generation: errors, an end too early or never, no tokens."""
    for line in lines:
        if "error" in line:
            yield f"error: {printable(str(line['error']), 200)}"
            return
    if any(line.get("done") is not False for line in lines[:-1]):
        yield "it was done before its last line"
    if lines[-1].get("done") is not True:
        yield "it never said done"
    elif not lines[-1].get("eval_count"):
        yield "not one token was generated"
