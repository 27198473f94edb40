"""What an Ollama server says of its models, and its store of their layers: probe and parser shared by models."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources.base import Section
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


# Every value travels as `label base64`: manifests and system prompts may hold any bytes.
_TOOLS = """\
umask 077
put() {{ printf '%s ' "$1"; head -c300000 | base64 -w 0; echo; }}
t=${{PROVISION_TMP:-}}
if [ ! -d "$t" ]; then t=$(mktemp -d) && trap 'rm -rf "$t"' EXIT; fi
a=$t/ollama-{port}
ask() {{
    if [ ! -e "$a-$1.rc" ]; then
        curl -sS -f --noproxy '*' --max-time 10 "{url}$1" >"$a-$1" 2>"$a-$1.err"
        echo $? >"$a-$1.rc"
    fi
    read -r r <"$a-$1.rc"
    if [ "$r" = 0 ]; then put "$1" <"$a-$1"; else put "no-$1" <"$a-$1.err"; fi
}}
store={store}
digest() {{
    d=
    while IFS= read -r l; do
        case $l in
        *"$1\\""*sha256:* | *sha256:*"$1\\""*)
            d=${{l#*sha256:}}
            d=${{d%%[!0-9a-f]*}}
            return
            ;;
        esac
    done <<END
$layers
END
}}
manifest() {{
    m=$store/manifests/$2
    if [ ! -f "$m" ]; then return; fi
    put "$1.manifest" <"$m"
    layers=$(tr -d ' \\t\\r\\n' <"$m" | tr '{{' '\\n')
    if [ -d "$store/blobs" ]; then
        tr : - <"$m" | grep -o 'sha256-[0-9a-f]*' |
            (cd "$store/blobs" && xargs stat -L -c '%n %s' -- 2>/dev/null) | put "$1.sizes"
    fi
    for kind in ollama.image.params ollama.image.messages docker.container.image.v1+json; do
        digest "$kind"
        b=$store/blobs/sha256-$d
        if [ -n "$d" ] && [ -f "$b" ]; then put "$1.$kind" <"$b"; fi
    done
}}
free() {{
    d=$store
    while [ ! -d "$d" ] && [ "$d" != / ]; do d=$(dirname "$d"); done
    df -Pk "$d" | tail -n 1 | put df
}}
"""

_REGISTRY = """\
if [ -e "$a-tags" ] && ! grep -qiF {listed} "$a-tags" && [ ! -e "$t/silent-"{host} ]; then
    if curl -sS -f -L --connect-timeout 3 --max-time 6 -H {accept} {url} >"$t/offer" 2>/dev/null; then
        put registry <"$t/offer"
        grep -o 'sha256:[0-9a-f]*' "$t/offer" | sort -u | while read -r d; do
            if [ -f "$store/blobs/sha256-${{d#sha256:}}" ]; then echo "$d"; fi
        done | put have
    else
        : >"$t/silent-"{host}
    fi
fi
"""


def tools(server: Server) -> str:
    """Functions for a probe: `ask tags|ps`, `manifest LABEL PATH`, `free`, `put LABEL`; answers are shared by a run."""
    return _TOOLS.format(port=server.port, url=server.url(""), store=quote(server.models_dir))


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
    values: dict[str, bytes] = {}
    for line in section.lines:
        label, _, data = line.partition(" ")
        try:
            values[label] = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the probe of the model store printed {printable(line, 80)!r}") from error
    text = {label: data.decode("utf-8", "replace") for label, data in values.items()}
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
    there = dict(line.rsplit(" ", 1) for line in sizes.splitlines() if " " in line)
    config = _object(manifest).get("config")
    layers = [*_layers(manifest).layers, *_layers(json.dumps({"layers": [config] if config else []})).layers]
    return tuple(one.digest for one in layers if there.get(one.digest.replace(":", "-")) != str(one.size))


def _free(df: str) -> int | None:
    fields = df.split()
    return int(fields[3]) * 1024 if len(fields) >= 6 and fields[3].isdigit() else None
