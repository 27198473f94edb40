"""The Docker SDK over a session: each HTTP connection is a `docker system dial-stdio` that runs on the host as root."""

from collections.abc import Callable
from typing import Any

import docker
import requests
import urllib3
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException
from docker.transport.basehttpadapter import BaseHTTPAdapter
from docker.utils.proxy import ProxyConfig

from provision.errors import HostError
from provision.host.wire import Wire
from provision.values import printable

# A load or a commit of many gigabytes answers when it is done.
_TIMEOUT = 600
# The SDK takes the raw stream of an answer by this address: a paramiko channel's differs from a socket's.
_CHANNEL, _SOCKET = "http+docker://ssh", "http+docker://local"
_CONNECTIONS = 4
_ANY = "http://docker.invalid:80"

PROGRAM = """
command -v docker >/dev/null || { echo; echo "$0 failed the docker command is not installed"; exit 1; }
echo; echo "$0 ready"
exec docker system dial-stdio 2>/dev/null
"""
"""Runs as root behind the become helper; the channel is the Docker socket from `ready` on."""

Open = Callable[[], Wire]


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, open_wire: Open) -> None:
        super().__init__("docker.invalid", timeout=_TIMEOUT)
        self._open_wire = open_wire
        self._wire: Wire | None = None

    def connect(self) -> None:
        self._wire = self._open_wire()
        self._wire.patience(_TIMEOUT)
        self.sock: Any = self._wire.socket

    def close(self) -> None:
        super().close()
        if self._wire:
            self._wire.close()
            self._wire = None


class _Pool(urllib3.HTTPConnectionPool):
    def __init__(self, open_wire: Open) -> None:
        super().__init__("docker.invalid", timeout=_TIMEOUT, maxsize=_CONNECTIONS, block=True)
        self._open_wire = open_wire

    def _new_conn(self) -> Any:
        return _Connection(self._open_wire)


class _Adapter(BaseHTTPAdapter):
    def __init__(self, open_wire: Open) -> None:
        self._pool = _Pool(open_wire)
        super().__init__()

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        return self._pool

    def request_url(self, request: Any, proxies: Any) -> str:
        return str(request.path_url)

    def close(self) -> None:
        super().close()
        self._pool.close()


def docker_client(host: str, open_wire: Open, *, over_ssh: bool) -> docker.DockerClient:
    """A client that speaks the newest API that both the engine and the SDK know.

    Raises:
        HostError: no engine answers.
    """
    adapter = _Adapter(open_wire)
    url = _CHANNEL if over_ssh else _SOCKET
    try:
        asked = _Api(adapter, url, DEFAULT_DOCKER_API_VERSION).version(api_version=False)
        theirs = str(asked["ApiVersion"])
    except (DockerException, requests.RequestException, OSError, KeyError, ValueError) as error:
        adapter.close()
        raise HostError(
            host, f"the Docker engine does not answer: {printable(str(error), 200)}", "is docker.service running?"
        ) from error
    client = docker.DockerClient(base_url=_ANY, version=DEFAULT_DOCKER_API_VERSION)
    client.api = _Api(adapter, url, min(theirs, DEFAULT_DOCKER_API_VERSION, key=_numbers))
    return client


class _Api(docker.APIClient):
    def __init__(self, adapter: _Adapter, url: str, version: str) -> None:
        super().__init__(base_url=_ANY, version=version, timeout=_TIMEOUT)
        # The control machine's proxies are not the host's, and not those of its containers.
        self.trust_env = False
        self._proxy_configs = ProxyConfig()
        self.base_url = url
        self.mount("http+docker://", adapter)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
