"""The least that any tool of Python and paramiko can cost: log in, run one script as root, read its answer.

A program of its own, `python -m tests.bench.floor JOB`: JOB is a JSON file with the hosts' ports, the key, their host
keys and the script that the product makes for them. It renders, compares and prints nothing.
"""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko


class _Socket(socket.socket):
    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data = super().recv(size, flags)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def ask(port: int, known: str, script: str, user: str, key: paramiko.PKey) -> int:
    """The size of a host's answer."""
    plain = socket.create_connection(("127.0.0.1", port))
    sock = _Socket(fileno=plain.detach())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock)
    try:
        transport.start_client()
        if transport.get_remote_server_key().get_base64() != known:
            raise SystemExit("another host key")
        transport.auth_publickey(user, key)
        channel = transport.open_session()
        channel.exec_command("sudo -n sh")
        channel.sendall(script.encode())
        channel.shutdown_write()
        size = 0
        while data := channel.recv(1 << 20):
            size += len(data)
        return size
    finally:
        transport.close()


def main(path: Path) -> None:
    """Ask all hosts at once."""
    job: dict[str, Any] = json.loads(path.read_text())
    key = paramiko.Ed25519Key.from_private_key_file(job["key"])
    with ThreadPoolExecutor(len(job["hosts"])) as pool:
        asked = [pool.submit(ask, port, known, job["script"], "admin", key) for port, known in job["hosts"]]
    for answer in asked:
        if answer.result() < 1000:
            raise SystemExit("the script gave no answer")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
