"""A model in an Ollama server: pulled from a registry, or made from a GGUF file of the control machine."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from provision import localfiles
from provision.dataclass import dataclass
from provision.models.names import ModelName
from provision.resources import model_store
from provision.resources.base import Change, Pending, Resource, Run, Section, Step, Upload
from provision.resources.model_store import DEFAULT_SERVER, Server, Store
from provision.resources.space import SPARE, space
from provision.resources.stream import Stream
from provision.values import human_bytes, quote

INCOMING = "/var/lib/provision/incoming"
"""Where uploads wait on the host: a disk, not `/run`, which is memory."""


@dataclass(frozen=True)
class OllamaModel:
    """A model by its local name.

    Args:
        name: what users call it: `gpt-oss:20b`.
        source: another name to pull it by, such as `models.lan:5000/library/gpt-oss:20b`; copied to `name` afterwards.
        gguf: a file of the control machine instead of a registry.
        insecure: plain http to the registry. It does not skip the check of a certificate.
        digest: manifest digest, or that of the weights, hex; a prefix of 12 digits or more will do.
        server: port and model store of the server.
        after: resources that the server needs: while they change, nothing is known about models.
        attempts: of a pull that fails for a passing reason; `stall` seconds without progress end an attempt.
    """

    name: str
    source: str | None = None
    gguf: Path | None = None
    insecure: bool = False
    digest: str | None = None
    server: Server = DEFAULT_SERVER
    after: tuple[Resource | str, ...] = field(default=(), repr=False)
    attempts: int = 5
    stall: float = 60.0

    @property
    def id(self) -> str:
        """`model:NAME`."""
        return f"model:{self.local}"

    @property
    def local(self) -> ModelName:
        """The parsed name."""
        return ModelName.parse(self.name)

    @property
    def remote(self) -> ModelName:
        """The name it is pulled by."""
        return ModelName.parse(self.source or self.name)

    @property
    def weights(self) -> str:
        """`sha256:...` of the GGUF file."""
        assert self.gguf is not None
        return f"sha256:{localfiles.file_digest(self.gguf)}"

    def probe(self) -> str:
        """The server's list, this model's manifest, free space; what a pull would bring if the model is missing."""
        parts = [model_store.tools(self.server), "ask tags", f"manifest own {quote(self.local.path)}", "free"]
        if self.gguf is not None:
            parts.append(blob_size("gguf", self.weights))
        else:
            parts.append(model_store.offer(self.remote, self.local, self.insecure))
        return "\n".join(parts) + "\n"

    def observe(self, section: Section) -> Store:
        """What is there.

        Raises:
            ValueError: the section cannot be understood.
        """
        return model_store.observe(section)

    def plan(self, observed: Store, pending: Pending) -> Change | None:
        """`pull` or `upload` when the model is missing or another one."""
        action = "upload" if self.gguf is not None else "pull"
        wanted = self._wanted()
        if observed.complaint:
            earlier = pending.any(*self.after)
            why = f"after {earlier.action} of {earlier.resource}" if earlier else f"the server: {observed.complaint}"
            return Change(self.id, action, why, after=wanted, download=self._upload_size(), uncertain=True)
        why = self._difference(observed)
        if not why:
            return None
        tag = observed.tag(self.local)
        before = {"digest": tag.digest, "bytes": tag.size} if tag else {}
        size = self._size(observed)
        if size is not None and observed.free is not None:
            why += f"; {human_bytes(size)} to {action}, {human_bytes(observed.free)} free in {self.server.models_dir}"
            if size * SPARE > observed.free:
                why += ": not enough"
        private: dict[str, Any] = {
            "size": size or 0,
            "present": self._blob_present(observed),
            "keep": self._source_listed(observed),
        }
        private["broken"] = observed.manifests["own"].broken if "own" in observed.manifests else ()
        return Change(self.id, action, why, before, wanted, download=size, private=private)

    def _wanted(self) -> dict[str, Any]:
        if self.gguf is not None:
            return {"gguf": self.gguf.name, "weights": self.weights}
        wanted = {"from": str(self.remote), "digest": self.digest}
        return {key: value for key, value in wanted.items() if value}

    def _difference(self, observed: Store) -> str:
        """Why something is to be done, or nothing."""
        tag, own = observed.tag(self.local), observed.manifests.get("own")
        if tag is None:
            return "not there"
        weights = own.digests("model") if own else ()
        if own is not None and own.broken:
            return f"its layer {own.broken[0].removeprefix('sha256:')[:12]} is missing or broken"
        if self.gguf is not None:
            if own is None:
                return f"no manifest of it in {self.server.models_dir}"
            return "" if self.weights in weights else "made from another file"
        if self.digest:
            pin = self.digest.removeprefix("sha256:")
            known = (tag.digest, *(digest.removeprefix("sha256:") for digest in weights))
            if not any(digest.startswith(pin) for digest in known):
                return f"digest {tag.digest[:12]}, wanted {pin[:12]}"
        return ""

    def _upload_size(self) -> int | None:
        return self.gguf.stat().st_size if self.gguf is not None else None

    def _size(self, observed: Store) -> int | None:
        if self.gguf is None:
            return observed.missing_bytes
        return 0 if self._blob_present(observed) else self._upload_size()

    def _blob_present(self, observed: Store) -> bool:
        """The server trusts a blob by its name: one of another size is a broken one."""
        return self.gguf is not None and observed.extra.get("gguf", "").strip() == str(self._upload_size())

    def _source_listed(self, observed: Store) -> bool:
        return observed.tag(self.remote) is not None

    def steps(self, change: Change) -> Iterator[Step]:
        """Look for space, bring it, check it."""
        known = change.private or {"size": self._upload_size() or 0, "present": False, "keep": False}
        if known["size"]:
            yield space(known["size"], self.server.models_dir)
        if change.before:
            # By name: once it has other weights, the server no longer finds the old ones in memory.
            yield Run(unload(self.local, self.server))
        if broken := known.get("broken"):
            yield Run(drop(broken, self.server))
        if self.gguf is not None:
            if not known["present"]:
                yield from send_blob(self.gguf, self.weights, self.server)
            body = {"model": str(self.local), "files": {self.gguf.name: self.weights}, "stream": True}
            yield self._stream("create", body).job("model-create")
            return
        if self.digest:
            yield Run(self._check_offer())
        body = {"model": str(self.remote), "insecure": self.insecure, "stream": True}
        then = "" if self.remote == self.local else self._copy(keep=known["keep"])
        yield self._stream("pull", body).job("model-pull", then)
        if self.digest:
            yield Run(self._check_digest())

    def _stream(self, call: str, body: dict[str, object]) -> Stream:
        return Stream(
            str(self.local), quote(self.server.url(call)), body=body, attempts=self.attempts, stall=self.stall
        )

    def _copy(self, keep: bool) -> str:
        """Gives the pulled model its short name; the long one goes, unless it was there before."""
        names = {"source": str(self.remote), "destination": str(self.local)}
        script = api(self.server, "POST", "copy", names)
        return script if keep else script + api(self.server, "DELETE", "delete", {"model": str(self.remote)})

    def _check_offer(self) -> str:
        """A registry that offers something else than the pinned digest is told before the good model is replaced.

        One that the host's own `curl` cannot reach, because only the server has a proxy, is judged afterwards.
        """
        return _OFFER.format(
            accept=quote(model_store.ACCEPT), url=quote(self.remote.manifest_url(self.insecure)), pin=self._pin
        )

    def _check_digest(self) -> str:
        return _PULLED.format(manifest=quote(f"{self.server.models_dir}/manifests/{self.local.path}"), pin=self._pin)

    @property
    def _pin(self) -> str:
        return (self.digest or "").removeprefix("sha256:")


_OFFER = """\
m=$PROVISION_TMP/offer
curl -sS -f -L --connect-timeout 3 --max-time 10 -H {accept} -o "$m" {url} 2>/dev/null || exit 0
if grep -q sha256:{pin} "$m"; then exit 0; fi
case $(sha256sum <"$m") in {pin}*) exit 0 ;; esac
echo "the registry has $(sha256sum <"$m" | cut -c 1-12), pinned is {pin}; nothing was pulled" >&2
exit 1
"""

_PULLED = """\
m={manifest}
if grep -q sha256:{pin} "$m"; then exit 0; fi
case $(sha256sum <"$m") in {pin}*) exit 0 ;; esac
echo "the registry gave $(sha256sum <"$m" | cut -c 1-12), pinned is {pin}" >&2
exit 1
"""


def api(server: Server, method: str, call: str, body: dict[str, object] | dict[str, str]) -> str:
    """One request to the server that must succeed; its own words are the complaint."""
    sent = f"-H 'Content-Type: application/json' --data-binary {quote(json.dumps(body))}"
    return _REQUEST.format(options=f"--max-time 120 -X {method} {sent}", url=quote(server.url(call)), what=call)


_REQUEST = """\
answer=$(curl -sS --noproxy '*' {options} -w ' %{{http_code}}' {url} 2>&1)
case $answer in
*\\ 2??) ;;
*) printf '%s\\n' "{what}: $answer" | tr '\\n' ' ' >&2; exit 1 ;;
esac
"""


def unload(name: ModelName, server: Server) -> str:
    """Takes the model out of memory once its requests are done; waits up to 30 s for that. Never fails."""
    body = json.dumps({"model": str(name), "keep_alive": 0})
    listed = json.dumps({"name": str(name)}, separators=(",", ":"))[1:-1]
    return _UNLOAD.format(
        body=quote(body), generate=quote(server.url("generate")), ps=quote(server.url("ps")), listed=quote(listed)
    )


_UNLOAD = """\
curl -sS --noproxy '*' --max-time 30 --data-binary {body} {generate} >/dev/null 2>&1
n=0
while [ $n -lt 30 ] && curl -sS --noproxy '*' --max-time 5 {ps} 2>/dev/null | grep -qiF {listed}; do
    sleep 1
    n=$((n + 1))
done
:
"""


def drop(digests: Iterable[str], server: Server) -> str:
    """Removes layers that are broken: the server takes a file of the right name for the right one."""
    names = " ".join(quote(f"{server.models_dir}/blobs/{digest.replace(':', '-')}") for digest in digests)
    return f"rm -f -- {names}\n"


def blob_size(label: str, digest: str) -> str:
    """Probe fragment: the size of a blob in the store, if it is there."""
    blob = quote(f"blobs/sha256-{digest.removeprefix('sha256:')}")
    return f'if [ -f "$store"/{blob} ]; then wc -c <"$store"/{blob} | put {label}; fi'


def send_blob(file: Path, digest: str, server: Server) -> Iterator[Step]:
    """Upload a file of the control machine and hand it to the server under its digest."""
    plain = digest.removeprefix("sha256:")
    waiting = f"{INCOMING}/{plain}"
    size = file.stat().st_size
    yield Run(f"umask 077; mkdir -p {quote(INCOMING)}\n")
    yield space(size, INCOMING)
    yield Upload(waiting, file, plain)
    blob = quote(f"{server.models_dir}/blobs/sha256-{plain}")
    yield Run(
        # A broken blob of that name would be taken for the file itself.
        f'if [ -f {blob} ] && [ "$(wc -c <{blob})" != {size} ]; then rm -f {blob}; fi\n'
        f"trap 'rm -f {waiting}' EXIT\n"
        + _REQUEST.format(
            options=f"-X POST -T {quote(waiting)}", url=quote(server.url(f"blobs/{digest}")), what=plain[:12]
        ),
        timeout=3600,
    )
