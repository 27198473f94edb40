"""What an Ollama server says of its models, and its store of their layers: probe and parser shared by models."""

import json
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources.base import Section
from provision.resources.get import Get
from provision.values import printable, quote

LAYER = "application/vnd.ollama.image."
ACCEPT = "Accept: application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Server:
    """The Ollama server of a host: its loopback port and its model store."""

    port: int = 11434
    models_dir: str = "/usr/share/ollama/.ollama/models"

    def url(self, path: str) -> str:
        """Of its API, as the host itself reaches it."""
        return f"http://127.0.0.1:{self.port}/api/{path}"


DEFAULT_SERVER = Server()


@dataclass(frozen=True)
class Layer:
    """One layer of a manifest: kind (`model`, `system`, `params`, ...), digest `sha256:...`, size in bytes."""

    kind: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A model's manifest, and its small layers read: parameters, messages, configuration.

    `broken` are digests of layers whose files are missing or have another size: the server lists a model all the same,
    and trusts a file by its name.
    """

    layers: tuple[Layer, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    broken: tuple[str, ...] = ()

    def digests(self, kind: str) -> tuple[str, ...]:
        """Digests of the layers of a kind, in order."""
        return tuple(layer.digest for layer in self.layers if layer.kind == kind)

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class Tag:
    """A model that the server lists: its name as it says it, manifest digest (64 hex), bytes."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True)
class Store:
    """What a probe found.

    Args:
        complaint: why the server did not answer; empty when it did.
        tags: by `ModelName.key`.
        loaded: digests of the models in memory, by `ModelName.key`.
        free: bytes free where the store is, None when unknown.
        manifests: by the labels that the probe used.
        registry: the manifest that the registry offers, asked for only when the model is missing.
        have: digests of the registry's layers that the store has already.
        extra: other values by label, such as sizes.
    """

    complaint: str = ""
    tags: Mapping[str, Tag] = field(default_factory=dict)
    loaded: Mapping[str, str] = field(default_factory=dict)
    free: int | None = None
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    registry: Manifest | None = None
    have: frozenset[str] = frozenset()
    extra: Mapping[str, str] = field(default_factory=dict)

    def tag(self, name: ModelName) -> Tag | None:
        """The server's entry for a model."""
        return self.tags.get(name.key)

    @property
    def missing_bytes(self) -> int | None:
        """What a pull would download, None when the registry was not asked or did not answer."""
        if self.registry is None:
            return None
        return sum(
            {layer.digest: layer.size for layer in self.registry.layers if layer.digest not in self.have}.values()
        )


def stored(server: Server, *parts: str) -> Get:
    """A probe: what the server says of its models, and what there is of some of them in its store.

    Args:
        server: that is asked.
        parts: fragments in the words of `_TOOLS`: `ask tags`, `ask ps`, `manifest LABEL PATH`, `free`.
    """
    start = f"server {quote(server.models_dir)} {quote(server.url(''))}"
    then = "".join(f"{part}\n" for part in (start, *parts))
    return Get((server.url("tags"), server.url("ps")), then, _TOOLS)


# Every value travels as a line `label text`: what a file or the server says has its lines joined, which JSON allows.
_TOOLS = """\
nl='
'
store='' said=''
put() { printf '%s ' "$1"; tr '\\n' ' '; echo; }
server() { # STORE URL: what it says is read once
    [ "$store $said" != "$1 $2" ] || return 0
    store=$1 said=$2 tags='' ps='' df=''
    got "$said"ps
    [ "$code" != 200 ] || ps=$(tr '\\n' ' ' <"$body")
    got "$said"tags
    [ "$code" != 200 ] || tags=$(tr '\\n' ' ' <"$body")
    complaint="HTTP $code from ${said}tags"
    [ "$code" != 000 ] || complaint=$(tail -n 1 "$body.err")
}
ask() {
    case $1 in tags) answer=$tags ;; *) answer=$ps ;; esac
    if [ -n "$answer" ]; then printf '%s %s\\n' "$1" "$answer"; else printf 'no-%s %s\\n' "$1" "$complaint"; fi
}
manifest() {
    label=$1 m=$store/manifests/$2
    if [ ! -f "$m" ]; then return; fi
    m=$(tr '\\n' ' ' <"$m")
    printf '%s.manifest %s\\n' "$label" "$m"
    set --
    set -f
    IFS='{'
    for part in $m; do
        x=${part#*sha256:}
        if [ "$x" = "$part" ]; then continue; fi
        x=$store/blobs/sha256-${x%%[!0-9a-f]*}
        set -- "$@" "$x"
        case $part in
        *ollama.image.params\\"*) kind=ollama.image.params ;;
        *ollama.image.messages\\"*) kind=ollama.image.messages ;;
        *docker.container.image.v1+json\\"*) kind=docker.container.image.v1+json ;;
        *) continue ;;
        esac
        if [ -f "$x" ]; then put "$label.$kind" <"$x"; fi
    done
    unset IFS
    set +f
    if [ -d "$store/blobs" ]; then
        printf '%s.sizes ' "$label"
        stat -L --printf '%n %s ' -- "$@" 2>/dev/null
        echo
    fi
}
size() {
    if [ -f "$store/blobs/$2" ]; then stat -L -c "$1 %s" -- "$store/blobs/$2"; fi
}
free() {
    if [ -z "$df" ]; then
        f=$store
        while [ ! -d "$f" ]; do f=${f%/*} f=${f:-/}; done
        df=$(df -Pk "$f")
    fi
    printf 'df %s\\n' "${df##*"$nl"}"
}
"""

_REGISTRY = """\
case $tags in
"" | *{listed}*) ;;
*)
    if ! printf '%s\\n' "$tags" | grep -qiF {listed} && [ ! -e "$t/silent-"{host} ]; then
        if curl -sS -f -L --connect-timeout 3 --max-time 6 -H {accept} {url} >"$t/offer" 2>/dev/null; then
            put registry <"$t/offer"
            grep -o 'sha256:[0-9a-f]*' "$t/offer" | sort -u | while read -r x; do
                if [ -f "$store/blobs/sha256-${{x#sha256:}}" ]; then echo "$x"; fi
            done | put have
        else
            : >"$t/silent-"{host}
        fi
    fi
    ;;
esac"""


def offer(name: ModelName, listed: ModelName, insecure: bool) -> str:
    """Asks the registry for a manifest when the server does not list the model: to tell what a pull will download."""
    return _REGISTRY.format(
        listed=quote(json.dumps({"name": str(listed)}, separators=(",", ":"))[1:-1]),
        host=quote(name.host),
        url=quote(name.manifest_url(insecure)),
        accept=quote(ACCEPT),
    )


def observe(section: Section) -> Store:
    """Read what these fragments printed.

    Raises:
        ValueError: it is not what they print.
    """
    text: dict[str, str] = {}
    *lines, cut = section.text.split("\n")
    for line in lines:
        label, blank, said = line.partition(" ")
        if not blank or cut:
            raise ValueError(f"the probe of the model store printed {printable(cut or line, 80)!r}")
        text.setdefault(label, said)
    if "tags" not in text:
        complaint = text.get("no-tags", section.err.decode("utf-8", "replace")).strip().rpartition("\n")[2]
        return Store(
            complaint=printable(complaint, 200) or "the server does not answer", free=_free(text.get("df", ""))
        )
    return Store(
        tags={key: Tag(name, _hex(item), _int(item.get("size"))) for key, name, item in _models(text["tags"])},
        loaded={key: _hex(item) for key, _, item in _models(text.get("ps", "{}"))},
        free=_free(text.get("df", "")),
        manifests={
            label.removesuffix(".manifest"): _manifest(text, label.removesuffix(".manifest"))
            for label in text
            if label.endswith(".manifest")
        },
        registry=_layers(text["registry"]) if "registry" in text else None,
        have=frozenset(text.get("have", "").split()),
        extra=text,
    )


def _models(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    models = _object(text).get("models")
    for item in models if isinstance(models, list) else []:
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            try:
                name = ModelName.parse(item["name"])
            except ValueError:
                continue  # not a name that could be declared or removed
            found.append((name.key, item["name"], item))
    return found


def _hex(item: Mapping[str, Any]) -> str:
    return str(item.get("digest") or "").removeprefix("sha256:")


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {printable(text, 80)!r}") from error
    return value if isinstance(value, dict) else {}


def _layers(text: str) -> Manifest:
    found = _object(text).get("layers")
    layers = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return Manifest(
        tuple(
            Layer(str(item.get("mediaType")).removeprefix(LAYER), str(item.get("digest")), _int(item.get("size")))
            for item in layers
        )
    )


def _manifest(text: Mapping[str, str], label: str) -> Manifest:
    messages = json.loads(text.get(f"{label}.ollama.image.messages") or "[]")
    return Manifest(
        _layers(text[f"{label}.manifest"]).layers,
        _object(text.get(f"{label}.ollama.image.params") or "{}"),
        tuple((str(item.get("role")), str(item.get("content"))) for item in messages if isinstance(item, dict)),
        _object(text.get(f"{label}.docker.container.image.v1+json") or "{}"),
        _broken(text[f"{label}.manifest"], text.get(f"{label}.sizes")),
    )


def _broken(manifest: str, sizes: str | None) -> tuple[str, ...]:
    """Digests of the layers, the configuration among them, that are not on disk as the manifest says."""
    if sizes is None:
        return ()
    # A store's path may have blanks in it.
    there = dict(re.findall(r"(sha256-[0-9a-f]+) (\d+)", sizes))
    config = _object(manifest).get("config")
    layers = [*_layers(manifest).layers, *_layers(json.dumps({"layers": [config] if config else []})).layers]
    return tuple(one.digest for one in layers if there.get(one.digest.replace(":", "-")) != str(one.size))


def _free(df: str) -> int | None:
    fields = df.split()
    return int(fields[3]) * 1024 if len(fields) >= 6 and fields[3].isdigit() else None
