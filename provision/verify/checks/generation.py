"""A real generation with every model: streamed and not, on the GPU where there is one, not too slowly."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from provision.accelerators import Computing
from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources.base import Section
from provision.resources.model_store import Server
from provision.values import printable, quote
from provision.verify.check import Check, Verdict
from provision.verify.checks import placement, show
from provision.verify.checks.ollama import CURL

PROMPT = "Say in one sentence what a server is."


@dataclass(frozen=True)
class Generation(Check):
    """A model generates, streamed and not; on the GPU where there is a usable one; not too slowly.

    Args:
        model: its declared name.
        gpus: those that the server computes on: where there is one, all of the model must be on them.
        floor: tokens a second.
    """

    model: str
    server: Server
    gpus: tuple[Computing, ...] = ()
    floor: float | None = None
    needs = ("models",)
    timeout = 1260.0

    @property
    def name(self) -> str:
        """`generation NAME`."""
        return f"generation {self.model}"

    def question(self) -> str:
        """The answer, the stream and `/api/ps`; with a GPU its parameters and what explains a bad placement."""
        lines = [f"mark() {{ printf '\\n%s\\n' {_MARK}; }}"]
        for stream in (False, True):
            body = {"model": self.model, "prompt": PROMPT, "stream": stream, "options": {"num_predict": 8}}
            lines += [f"{CURL} 600 {self._url('generate')} -d {quote(json.dumps(body))} || exit 1", "mark"]
        lines.append(self._in_memory())
        if self.gpus:
            lines += ["mark", f"{CURL} 20 {self._url('show')} -d {quote(json.dumps({'model': self.model}))}", "mark"]
            lines.append(placement.question(self.gpus))
        return "\n".join(lines)

    def _in_memory(self) -> str:
        """Prints `/api/ps`, then `NAME WEIGHTS` of this model and of those that it lists.

        With the same weights and parameters the server goes on with the model that is loaded and lists that one's name
        (ollama: server/sched.go). With OLLAMA_KEEP_ALIVE=0 nothing stays: then it is asked once more to stay a while.
        """
        body = {"model": self.model, "prompt": "Hi", "stream": False, "options": {"num_predict": 1}, "keep_alive": "1m"}
        return _IN_MEMORY.format(
            ps=f"{CURL} 20 {self._url('ps')}",
            again=f"{CURL} 600 {self._url('generate')} -d {quote(json.dumps(body))}",
            show=f"{CURL} 20 {self._url('show')}",
            own=quote(str(ModelName.parse(self.model))),
        )

    def _url(self, call: str) -> str:
        return quote(self.server.url(call))

    def judge(self, answer: Section) -> Verdict:
        """Every line of both answers, the speed, and where the weights are."""
        whole, stream, ps, weights, rest = self._parts(answer)
        if "does not support generate" in str(whole.get("error", "")):
            return Verdict("skipped", "it makes embeddings only")
        complaints = [f"not streamed: {text}" for text in answered([whole])]
        complaints += [f"streamed: {text}" for text in answered(stream)]
        if complaints:
            return Verdict.of(complaints)
        speed = whole["eval_count"] / max(whole.get("eval_duration", 0), 1) * 1e9
        load = whole.get("load_duration", 0) / 1e9
        complaints += self._placed(ps, weights, rest)
        if self.floor and speed < self.floor:
            complaints.append(f"{speed:.1f} tokens/s, at least {self.floor:g} are demanded")
        figures = {"tokens_per_second": round(speed, 2), "load_seconds": round(load, 3)}
        text = "; ".join(complaints) or f"{speed:.1f} tokens/s, loaded in {load:.1f} s"
        return Verdict("failed" if complaints else "passed", text, figures)

    def _parts(self, answer: Section) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any], str, list[str]]:
        parts = answer.text.split(f"\n{_MARK}\n")
        if answer.rc or len(parts) != (6 if self.gpus else 4):
            raise ValueError(f"{len(parts)} answers, exit status {answer.rc}")
        whole, stream, ps = (list(lines_of(part)) for part in parts[:3])
        if not (whole and stream and ps):
            raise ValueError("an answer is empty")
        return whole[0], stream, ps[0], parts[3], parts[4:]

    def _placed(self, ps: Mapping[str, Any], weights: str, rest: list[str]) -> Iterator[str]:
        own, *others = (line.partition(" ")[::2] for line in weights.splitlines())
        same = {own[0], *(name for name, blob in others if blob and blob == own[1])}
        entry = next((one for one in ps["models"] if one["name"] in same), None)
        if entry is None:
            yield "it is not in memory after it answered"
        elif self.gpus and entry.get("size_vram", 0) < entry["size"]:
            parameters = show.parameters(json.loads(rest[0]).get("parameters") or "")
            yield placement.explain(entry, parameters, placement.parse(rest[1]), self.gpus)


_MARK = "--provision-next--"
# The weights are what the FROM line of its Modelfile says.
_IN_MEMORY = """\
loaded=$({ps})
case $loaded in *'"name"'*) ;; *) {again} >/dev/null; loaded=$({ps}) ;; esac
printf '%s\\n' "$loaded"
mark
printf '%s\\n' "$loaded" | grep -o '"name":"[^"]*"' | cut -d '"' -f 4 | {{ echo {own}; cat; }} | while read -r name; do
    echo "$name $({show} -d "{{\\"model\\": \\"$name\\"}}" | grep -o 'FROM [^ ]*sha256-[0-9a-f]*' | head -n 1)"
done
"""


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
