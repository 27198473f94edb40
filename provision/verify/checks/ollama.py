"""Checks of an Ollama server: which one runs, what it has, and whether it is whole."""

import json
from collections.abc import Iterator
from typing import Any

from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources.base import Section
from provision.resources.derived_model import DerivedModel
from provision.resources.model_store import LAYER, Server
from provision.resources.ollama_model import OllamaModel
from provision.values import printable, quote
from provision.verify.check import Check, Verdict
from provision.verify.checks import show
from provision.verify.checks.sources import Asked, Page

CURL = "curl -sS --noproxy '*' --max-time"
UNIT = "ollama.service"
_EXE = 'printf exe=; readlink "/proc/$p/exe" || echo'
_CLOUD = "echo \"cloud=$(tr '\\0' '\\n' <\"/proc/$p/environ\" | sed -n 's/^OLLAMA_NO_CLOUD=//p')\""


@dataclass(frozen=True)
class Version(Check):
    """The server that answers is the pinned one, and its process runs the pinned release's program.

    Args:
        version: declared.
        server: its port.
        program: path of the release's program; "" when no release is declared.
    """

    version: str
    server: Server
    program: str = ""
    name = "ollama version"
    needs = ("service ollama",)
    early = True

    def question(self) -> str:
        """What the process runs, then `/api/version`."""
        version = Page(self.server.url("version"))
        return Asked(f"unit {UNIT}\n{_EXE}\n{version.call}", [UNIT], [version])

    def judge(self, answer: Section) -> Verdict:
        """Both."""
        line, _, told = answer.text.partition("\n")
        found = loaded(Section(answer.rc, told.encode(), answer.err))["version"]
        program = line.removeprefix("exe=")
        wrong = []
        if found != self.version:
            wrong.append(f"{found} answers on port {self.server.port}, {self.version} is declared")
        if self.program and program.endswith(" (deleted)"):
            wrong.append(f"its process runs {program.removesuffix(' (deleted)')}, which was replaced since: restart it")
        elif self.program and program != self.program:
            wrong.append(f"its process runs {printable(program, 200) or 'nothing'}, not {self.program}")
        return Verdict.of(wrong, str(found))


@dataclass(frozen=True)
class OneOllama(Check):
    """Exactly one `ollama` is in PATH: with a second one, commands and server disagree."""

    name = "one ollama"

    def question(self) -> str:
        """Every one in PATH; directories that are links (/bin) count once."""
        return _IN_PATH

    def judge(self, answer: Section) -> Verdict:
        """One line."""
        found = answer.lines
        text = f"{len(found)} in PATH: {', '.join(found)}" if found else "none is in PATH"
        return Verdict.of([text] if len(found) != 1 else [], "".join(found))


_IN_PATH = """\
path=$PATH:/snap/bin
IFS=:
for d in $path; do
    [ ! -x "$d/ollama" ] || echo "$(readlink -f "$d")/ollama"
done | sort -u
"""


@dataclass(frozen=True)
class Libraries(Check):
    """The release has the libraries that compute on the host's GPUs: without them the server uses the processor.

    Args:
        folder: the release's `lib/ollama`.
        beginnings: of directories there, one for each kind of GPU: `rocm`, `cuda_v`, `vulkan`.
    """

    folder: str
    beginnings: tuple[str, ...]
    name = "gpu libraries"

    def question(self) -> str:
        """The directories there that hold something."""
        return f"find {quote(self.folder)}/ -mindepth 1 -maxdepth 1 -type d ! -empty -printf '%f\\n'"

    def judge(self, answer: Section) -> Verdict:
        """One for each."""
        if answer.rc:
            return Verdict.of([f"{self.folder} is not there"], "")
        found = sorted(answer.lines)
        wrong = [
            f"{self.folder} has no {start}*: its GPU is not used"
            for start in self.beginnings
            if not any(name.startswith(start) for name in found)
        ]
        return Verdict.of(wrong, ", ".join(found))


@dataclass(frozen=True)
class Models(Check):
    """The server has the declared models with the declared digests, and all their layers are really there.

    The server lists a model as long as its manifest is there, whatever became of its layers.
    """

    models: tuple[OllamaModel | DerivedModel, ...]
    server: Server
    name = "models"
    needs = ("ollama version",)
    early = True
    timeout = 120.0

    def question(self) -> str:
        """`/api/tags`; of each model its manifest, the manifest's SHA-256, and the sizes of its layers on disk."""
        paths = " ".join(quote(one.local.path) for one in self.models)
        tags = Page(self.server.url("tags"))
        script = _MODELS.format(tags=tags.call, store=quote(self.server.models_dir), paths=paths)
        return Asked(script, answers=[tags])

    def judge(self, answer: Section) -> Verdict:
        """Each model."""
        if answer.rc or answer.lines[-1:] != ["end"]:
            raise ValueError(f"exit status {answer.rc}")
        tags, *rest = answer.lines
        listed = {ModelName.parse(one["name"]).key: str(one["digest"]) for one in json.loads(tags)["models"]}
        missing = [one.name for one in self.models if one.local.key not in listed]
        complaints = [f"missing: {', '.join(missing)}"] if missing else []
        blocks = "\n".join(rest).split("model ")[1:]
        for one, block in zip(self.models, blocks, strict=True):
            if one.local.key in listed:
                complaints += [f"{one.name}: {text}" for text in _stored(one, listed[one.local.key], block)]
        return Verdict.of(complaints, f"{len(self.models)} there")


_MODELS = """\
store={store}
models() {{
    for path; do
        m=$store/manifests/$path
        echo "model $path"
        [ -f "$m" ] || continue
        printf 'sha256 %s\\n' "$(sha256sum <"$m" | cut -c 1-64)"
        printf 'manifest %s\\n' "$(tr -d '\\r\\n' <"$m")"
        tr -d ' \\t\\r\\n' <"$m" | grep -o 'sha256:[0-9a-f]*' | sort -u | while read -r layer; do
            b=$store/blobs/sha256-${{layer#sha256:}}
            if [ -f "$b" ]; then echo "layer $layer $(stat -L -c %s "$b")"; fi
        done
    done
    echo end
}}
{tags} && echo && models {paths}
"""


def _stored(one: OllamaModel | DerivedModel, told: str, block: str) -> Iterator[str]:
    """What is wrong with a model's files, by what the question printed of it."""
    lines = [line.split(" ", 1) for line in block.splitlines()[1:]]
    found = {words[0]: words[1] for words in lines if len(words) == 2 and words[0] != "layer"}
    sizes = dict(words[1].rsplit(" ", 1) for words in lines if words[0] == "layer" and len(words) == 2)
    if "manifest" not in found:
        yield "the server lists it, but it has no manifest"
        return
    if told.removeprefix("sha256:") != found["sha256"]:
        yield f"the server tells the digest {told[:12]}, its manifest has {found['sha256'][:12]}"
    manifest = json.loads(found["manifest"])
    weights = [layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == f"{LAYER}model"]
    if isinstance(one, OllamaModel):
        yield from _pinned(one, found["sha256"], weights)
    for layer in [manifest["config"], *manifest["layers"]]:
        size = sizes.get(layer["digest"])
        kind = str(layer["mediaType"]).removeprefix(LAYER).rpartition(".")[2]
        what = f"its layer {layer['digest'].removeprefix('sha256:')[:12]} ({printable(kind, 40)})"
        if size is None:
            yield f"{what} is not there"
        elif size != str(layer["size"]):
            yield f"{what} has {size} bytes, not {layer['size']}"


def _pinned(one: OllamaModel, manifest: str, weights: list[str]) -> Iterator[str]:
    if one.gguf is not None and one.weights not in weights:
        yield f"it was made from another file than {one.gguf.name}"
    pin = (one.digest or "").removeprefix("sha256:")
    if pin and not any(digest.removeprefix("sha256:").startswith(pin) for digest in (manifest, *weights)):
        yield f"it has the digest {manifest[:12]}, {pin[:12]} is declared"


@dataclass(frozen=True)
class Derived(Check):
    """Derived models have the declared SYSTEM, template and parameters, as the server itself tells them."""

    models: tuple[DerivedModel, ...]
    server: Server
    name = "derived models"
    needs = ("models",)
    early = True

    def question(self) -> str:
        """`/api/show` of each, one line."""
        url = quote(self.server.url("show"))
        bodies = (quote(json.dumps({"model": one.name})) for one in self.models)
        return "\n".join(f"{CURL} 20 {url} -d {body} || exit 1\necho" for body in bodies)

    def judge(self, answer: Section) -> Verdict:
        """Each of them; what the Modelfile does not set is the base's."""
        shown = [json.loads(line) for line in answer.lines if line.strip()]
        if answer.rc or len(shown) != len(self.models):
            raise ValueError(f"{len(shown)} answers, exit status {answer.rc}")
        complaints = [
            f"{one.name}: {text}"
            for one, there in zip(self.models, shown, strict=True)
            for text in show.differences(one.modelfile, there)
        ]
        return Verdict.of(complaints, ", ".join(one.name for one in self.models))


@dataclass(frozen=True)
class NoCloud(Check):
    """The server's process has OLLAMA_NO_CLOUD, and no model is a stub of one at ollama.com."""

    server: Server
    name = "no cloud"
    needs = ("ollama version",)
    early = True

    def question(self) -> str:
        """The process's variable, then `/api/tags`."""
        tags = Page(self.server.url("tags"))
        return Asked(f"unit {UNIT}\n{_CLOUD}\n{tags.call}", [UNIT], [tags])

    def judge(self, answer: Section) -> Verdict:
        """A true value, and models that all have their weights here."""
        value, _, tags = answer.text.partition("\n")
        models = loaded(Section(answer.rc, tags.encode(), answer.err))["models"]
        stubs = [entry["name"] for entry in models if entry.get("remote_host") or ModelName.parse(entry["name"]).remote]
        complaints = [] if value in ("cloud=1", "cloud=true") else ["the server runs without OLLAMA_NO_CLOUD=1"]
        return Verdict.of(complaints + [f"{name} runs at ollama.com" for name in stubs])


def loaded(answer: Section) -> Any:
    """JSON of an answer.

    Raises:
        ValueError: there is none.
    """
    if answer.rc:
        raise ValueError(f"exit status {answer.rc}")
    return json.loads(answer.text)
