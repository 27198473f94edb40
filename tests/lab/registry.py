"""A registry of models and images on this machine, reachable from hosts, that can misbehave as real ones do.

Beyond plain files `ollama pull` wants: HEAD with Content-Length, byte ranges, and a Location header on the blob's GET
(a bare 200 is refused with "no Location header in response").
"""

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from tests.lab.machine import client

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MODEL = "application/vnd.ollama.image.model"


class Fault(Enum):
    """How the registry misbehaves."""

    NONE = "none"
    STALL = "stops sending in the middle of a blob"
    CUT = "closes the connection in the middle of a blob"
    WRONG = "sends other bytes than the digest says"
    REFUSE = "wants a newer version of Ollama: 412"
    ERROR = "answers 500"


class Registry:
    """The models it has, and how it behaves: set `fault` at any time.

    Attributes:
        address: `HOST:PORT`, as hosts of the default docker network reach it.
        fault: what is wrong with it now; faults in blobs pass after `times` requests.
        requests: method and path of all that was asked, in order.
        served: of each GET of a blob its digest, the first byte that was sent, and how many were.
    """

    def __init__(self) -> None:
        self.fault = Fault.NONE
        self.times = 1_000_000
        self.requests: list[str] = []
        self.served: list[tuple[str, int, int]] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.released = threading.Event()
        gateway = client().networks.get("bridge").attrs["IPAM"]["Config"][0].get("Gateway", "172.17.0.1")
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = http.server.ThreadingHTTPServer((gateway, 0), handler)
        self.address = f"{gateway}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, name: str, weights: Path | bytes, tag: str = "latest") -> str:
        """Offer a model, such as `library/tiny`; returns its full name for a pull."""
        data = weights if isinstance(weights, bytes) else weights.read_bytes()
        config = {
            "model_format": "gguf",
            "model_family": "llama",
            "model_families": ["llama"],
            "model_type": "146K",
            "file_type": "F16",
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [self._blob(data)]},
        }
        text = json.dumps(config).encode()
        layers = [{"mediaType": MODEL, "digest": self._blob(data), "size": len(data)}]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": self._blob(text),
                "size": len(text),
            },
            "layers": layers,
        }
        self.manifests[f"{name}/manifests/{tag}"] = json.dumps(manifest).encode()
        return f"{self.address}/{name}:{tag}"

    def add_image(self, name: str, config: bytes, layers: list[bytes], tag: str = "latest") -> str:
        """Offer a Docker image of gzipped layers; returns the digest of its manifest."""
        kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": self._blob(config),
                "size": len(config),
            },
            "layers": [{"mediaType": kind, "digest": self._blob(data), "size": len(data)} for data in layers],
        }
        text = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        self.manifests[f"{name}/manifests/{tag}"] = self.manifests[f"{name}/manifests/{digest}"] = text
        return digest

    @contextmanager
    def misbehaving(self, fault: Fault, times: int = 1_000_000) -> Iterator[None]:
        """Have a fault during the block, in blobs only for so many requests."""
        self.fault, self.times = fault, times
        self.released.clear()
        try:
            yield
        finally:
            self.fault = Fault.NONE
            self.released.set()

    def _blob(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def close(self) -> None:
        """Stop serving; requests that stall end."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def registry() -> Iterator[Registry]:
    """A registry for the block."""
    serving = Registry()
    try:
        yield serving
    finally:
        serving.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_GET(self) -> None:  # the name http.server wants
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: `requests` has it."""

    def _answer(self, body: bool) -> None:
        registry = self.registry
        registry.requests.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/v2/(?:([\w./-]+/manifests/[\w.:-]+)|[\w./-]+/blobs/(sha256:[0-9a-f]{64}))", self.path)
        if self.path == "/v2/":
            self._send(200, b"{}", body)
        elif found and found[1] in registry.manifests:
            if registry.fault is Fault.REFUSE:
                self._send(412, b'{"errors":[{"code":"UPGRADE","message":"requires a newer version of Ollama"}]}', body)
            elif registry.fault is Fault.ERROR:
                self._send(500, b'{"errors":[{"code":"INTERNAL","message":"out of order"}]}', body)
            else:
                text = registry.manifests[found[1]]
                digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
                self._send(200, text, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest})
        elif found and found[2] in registry.blobs:
            self._blob(found[2], body)
        else:
            self._send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not found"}]}', body)

    def _blob(self, digest: str, body: bool) -> None:
        data, first = self.registry.blobs[digest], 0
        fault = self._fault(data) if body else Fault.NONE
        if fault is Fault.WRONG:
            data = bytes(byte ^ 1 for byte in data[:64]) + data[64:]
        headers = {"Location": self.path, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        status, part = 200, data
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            status, part = 206, data[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        halted = body and fault in (Fault.STALL, Fault.CUT) and len(part) > 1000
        stop_at = len(part) // 2 if halted else None
        if body:
            self.registry.served.append((digest, first, len(part[:stop_at])))
        self._send(status, part, body, headers, stop_at)
        if halted and fault is Fault.STALL:
            self.registry.released.wait(600)
        if halted:
            self.close_connection = True

    def _fault(self, data: bytes) -> Fault:
        """The fault of this request: small blobs have none, and each one counts."""
        registry = self.registry
        if len(data) <= 1000 or registry.fault not in (Fault.WRONG, Fault.STALL, Fault.CUT):
            return Fault.NONE
        registry.times -= 1
        return registry.fault if registry.times >= 0 else Fault.NONE

    def _send(
        self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None, stop_at: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            try:
                self.wfile.write(data[:stop_at])
                self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
