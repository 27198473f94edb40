"""A web server on this machine that lab hosts reach: a mirror that can misbehave."""

import datetime
import ipaddress
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lab.machine import client


def address() -> str:
    """This machine's address on the docker bridge, at which hosts reach it."""
    subnet = client().networks.get("bridge").attrs["IPAM"]["Config"][0]["Subnet"]
    return str(ipaddress.ip_network(subnet)[1])


class Halt(Enum):
    """How a download ends in the middle of what was asked for."""

    CUT = "the connection is closed"
    STALL = "nothing more comes"


class Mirror:
    """Serves what `files` says; the path of each request is kept.

    Attributes:
        files: path -> content.
        ranges: whether it can begin in the middle of a file.
        halts: how the next downloads end half-way, one after the other.
        sent: of each download its path, the first byte that it began with, and how many were sent.
    """

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://{address()}:{port}"
        self.files: dict[str, bytes | Path] = {}
        self.asked: list[str] = []
        self.ranges = True
        self.halts: list[Halt] = []
        self.sent: list[tuple[str, int, int]] = []
        self.released = threading.Event()

    def get(self, path: str) -> bytes | None:
        """The content of a path; None when there is none."""
        self.asked.append(path)
        content = self.files.get(path)
        return content.read_bytes() if isinstance(content, Path) else content


@contextmanager
def mirror(certificate: Path | None = None) -> Iterator[Mirror]:
    """Serve until the end of the block; with `certificate` (PEM, key and certificate) by TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            content = served.get(self.path)
            if content is None:
                self.send_error(404)
                return
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if served.ranges else None
            first = int(wanted[1]) if wanted else 0
            if wanted and first >= len(content):
                self.send_error(416)
                return
            part = content[first:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(part)))
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if body:
                self._send(part, first)

        def _send(self, part: bytes, first: int) -> None:
            halt = served.halts.pop(0) if served.halts else None
            part = part[: len(part) // 2] if halt else part
            served.sent.append((self.path, first, len(part)))
            with suppress(ConnectionError):
                self.wfile.write(part)
            if halt is Halt.STALL:
                served.released.wait(60)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    served = Mirror("https" if certificate else "http", server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.released.set()
        server.shutdown()
        server.server_close()


def expired_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that ended yesterday: (key and certificate, the certificate alone)."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _named("mirror.office.lan", key.public_key(), days=-1).add_extension(_this_machine(), critical=False)
    made = made.add_extension(_CA, critical=True)
    return _written(folder, key, made.sign(key, hashes.SHA256()))


def signed_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that an office's own CA signed: (key and certificate, the CA's certificate)."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _named(_AUTHORITY, authority.public_key(), days=30).add_extension(_CA, critical=True)
    made = _named("mirror.office.lan", key.public_key(), days=30, issuer=_AUTHORITY)
    made = made.add_extension(_this_machine(), critical=False)
    both, alone = _written(folder, key, made.sign(authority, hashes.SHA256()))
    alone.write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return both, alone


_AUTHORITY = "Office CA"
_CA = x509.BasicConstraints(ca=True, path_length=None)


def _this_machine() -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address()))])


def _named(name: str, key: ec.EllipticCurvePublicKey, days: int, issuer: str = "") -> x509.CertificateBuilder:
    """Valid from a month ago until so many days from now."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _written(folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> tuple[Path, Path]:
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both, alone = folder / "mirror.pem", folder / "office.crt"
    both.write_bytes(private + public)
    alone.write_bytes(public)
    return both, alone
