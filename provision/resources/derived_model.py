"""A model that a Modelfile derives from another one, made again exactly when the Modelfile or its base changed.

Nothing is remembered between runs: the server keeps system prompt, template and licences as blobs named by their
SHA-256, and parameters and messages as small JSON blobs. So what is there is compared with what a create would make of
the base as it is now (ollama: server/create.go), which also finds changes that others made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from provision import localfiles
from provision.dataclass import dataclass
from provision.models import parameters
from provision.models.modelfile import Modelfile
from provision.models.names import ModelName
from provision.resources import model_store
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.resources.model_store import DEFAULT_SERVER, Manifest, Server, Store
from provision.resources.ollama_model import blob_size, drop, send_blob, unload
from provision.resources.stream import Stream
from provision.values import quote, sha256


@dataclass(frozen=True)
class DerivedModel:
    """A model made by the server's create call.

    Args:
        name: what users call it.
        modelfile: parsed and checked; its first source is the base unless `files` are given.
        files: GGUF files of the control machine to make it from, instead of a base.
        adapter: a GGUF adapter of the control machine.
        base: the resource that brings the base, if it is declared.
        server: port and model store of the server.
        after: what the server needs: while it changes, nothing is known about models.
    """

    name: str
    modelfile: Modelfile
    files: tuple[Path, ...] = ()
    adapter: Path | None = None
    base: Resource | None = field(default=None, repr=False)
    server: Server = DEFAULT_SERVER
    after: tuple[Resource | str, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """`model:NAME`."""
        return f"model:{self.local}"

    @property
    def local(self) -> ModelName:
        """The parsed name."""
        return ModelName.parse(self.name)

    @property
    def source(self) -> ModelName | None:
        """The base's name."""
        return None if self.files else ModelName.parse(self.modelfile.sources[0])

    @property
    def _uploads(self) -> dict[str, Path]:
        """Digest `sha256:...` -> file."""
        files = (*self.files, *((self.adapter,) if self.adapter else ()))
        return {f"sha256:{localfiles.file_digest(file)}": file for file in files}

    def probe(self) -> str:
        """The server's lists, the manifests of this model and of its base with their small layers."""
        parts = [model_store.tools(self.server), "ask tags", "ask ps", f"manifest own {quote(self.local.path)}"]
        if self.source is not None:
            parts.append(f"manifest base {quote(self.source.path)}")
        parts += [blob_size(digest, digest) for digest in self._uploads]
        return "\n".join(parts) + "\n"

    def observe(self, section: Section) -> Store:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        return model_store.observe(section)

    def plan(self, observed: Store, pending: Pending) -> Change | None:
        """`create` when it is missing or would come out different; `unload` when old settings are still in memory."""
        wanted = {"from": str(self.source) if self.source else [file.name for file in self.files]}
        wanted |= {key: value for key, value in summary(self.modelfile).items() if key != "from"}
        if observed.complaint:
            earlier = pending.any(*self.after)
            why = f"after {earlier.action} of {earlier.resource}" if earlier else f"the server: {observed.complaint}"
            return Change(self.id, "create", why, after=wanted, uncertain=True)
        tag, own = observed.tag(self.local), observed.manifests.get("own")
        present = frozenset(digest for digest in self._uploads if self._sent(observed, digest))
        if tag is None or own is None:
            return Change(self.id, "create", "not there", after=wanted, private=present)
        if self.base is not None and (earlier := pending.any(self.base)):
            why = f"after {earlier.action} of its base {self.source}"
            return Change(self.id, "create", why, after=wanted, uncertain=True, private=present)
        if own.broken:
            why = f"its layer {own.broken[0].removeprefix('sha256:')[:12]} is missing or broken"
            return Change(self.id, "create", why, after={**wanted, "layers": list(own.broken)}, private=present)
        if reasons := self.differences(own, observed.manifests.get("base")):
            before = _described(own)
            changed = {key: before.get(key) for key in reasons if key in before}
            return Change(self.id, "create", f"{', '.join(reasons)} changed", changed, wanted, private=present)
        loaded = observed.loaded.get(self.local.key)
        if loaded and loaded != tag.digest:
            return Change(self.id, "unload", "still in memory with its old settings", {"loaded": loaded[:12]})
        return None

    def differences(self, own: Manifest, base: Manifest | None) -> list[str]:
        """What a create would change, by name: `system`, `parameters`, `base`, ..."""
        want, kept = self.modelfile, base or Manifest(())
        weights = set(own.digests("model")) | set(own.digests("projector"))
        expected = {f"sha256:{localfiles.file_digest(file)}" for file in self.files}
        expected |= set(kept.digests("model")) | set(kept.digests("projector"))
        found = {} if weights == expected else {"base": True}
        for kind, text in (("system", want.system), ("template", want.template)):
            if self.files and text is None and kind == "template":
                continue  # the server finds one that fits the file's chat template
            digests = (blob(text),) if text else kept.digests(kind)
            found[kind] = own.digests(kind) != digests
        found["parameters"] = not self._same_parameters(own.parameters, kept.parameters)
        found["messages"] = own.messages != (want.messages or kept.messages)
        licenses = {*kept.digests("license"), *(blob(text) for text in want.licenses)}
        found["license"] = set(own.digests("license")) != licenses
        adapters = {f"sha256:{localfiles.file_digest(self.adapter)}"} if self.adapter else set(kept.digests("adapter"))
        found["adapter"] = set(own.digests("adapter")) != adapters
        for key in ("renderer", "parser", "requires"):
            value = getattr(want, key)
            found[key] = value is not None and own.config.get(key) != value
        return [key for key, differs in found.items() if differs]

    def _same_parameters(self, own: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
        """A create merges the given parameters over the base's; from a file, the server may add stop words."""
        wanted = {**base, **self.modelfile.parameters}
        if not self.files and own.keys() != wanted.keys():
            return False
        return all(key in own and parameters.same(own[key], value) for key, value in wanted.items())

    def _sent(self, observed: Store, digest: str) -> bool:
        return observed.extra.get(digest, "").strip() == str(self._uploads[digest].stat().st_size)

    def steps(self, change: Change) -> Iterator[Step]:
        """Unload, bring files, create, unload again: a request in between may have loaded the old one."""
        yield Run(unload(self.local, self.server))
        if change.action == "unload":
            return
        if broken := change.after.get("layers"):
            yield Run(drop(broken, self.server))
        for digest, file in self._uploads.items():
            if digest not in (change.private or ()):
                yield from send_blob(file, digest, self.server)
        yield Stream(str(self.local), quote(self.server.url("create")), body=self.body(), stall=600).job("model-create")
        yield Run(unload(self.local, self.server))

    def body(self) -> dict[str, object]:
        """The create request. The server takes no Modelfile since 0.5.5, only its parts."""
        want = self.modelfile
        body: dict[str, object | None] = {
            "model": str(self.local),
            "from": str(self.source) if self.source else None,
            "files": {file.name: f"sha256:{localfiles.file_digest(file)}" for file in self.files},
            "adapters": {self.adapter.name: f"sha256:{localfiles.file_digest(self.adapter)}"} if self.adapter else None,
            "system": want.system,
            "template": want.template,
            "parameters": dict(want.parameters),
            "messages": [{"role": role, "content": text} for role, text in want.messages],
            "license": list(want.licenses),
            "renderer": want.renderer,
            "parser": want.parser,
            "requires": want.requires,
        }
        return {**{key: value for key, value in body.items() if value}, "stream": True}


def blob(text: str) -> str:
    """The digest under which the server keeps a text."""
    return f"sha256:{sha256(text)}"


def summary(want: Modelfile) -> dict[str, Any]:
    """What a Modelfile sets, for a plan; long texts by their beginning."""
    parts: dict[str, Any] = {"from": list(want.sources), "parameters": dict(want.parameters)}
    parts |= {"system": want.system and want.system[:200], "template": want.template and want.template[:200]}
    parts |= {"messages": len(want.messages), "adapter": want.adapter, "license": len(want.licenses)}
    return {key: value for key, value in parts.items() if value}


def _described(own: Manifest) -> dict[str, Any]:
    return {
        "parameters": dict(own.parameters),
        "system": [digest[7:19] for digest in own.digests("system")],
        "template": [digest[7:19] for digest in own.digests("template")],
        "base": [digest[7:19] for digest in own.digests("model")],
        "messages": len(own.messages),
    }
