"""The places that the changes of a plan fetch from, and whether the host can reach them."""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from provision.dataclass import dataclass
from provision.engine.plan import Plan
from provision.preflight.finding import Finding
from provision.proxy import PROXY_FILE
from provision.resources.base import Resource, Section
from provision.resources.file import File
from provision.resources.image import Image
from provision.resources.ollama_model import OllamaModel
from provision.resources.release import Release
from provision.resources.repository import Repository
from provision.values import printable, quote

DOCKER_HUB = "registry-1.docker.io"

# curl's exit statuses (curl: docs/libcurl/libcurl-errors.md) that mean that nobody answered.
_FAILURES = {
    "5": "its proxy's name is not known",
    "6": "its name is not known (DNS)",
    "7": "nobody answers there",
    "28": "no answer in 10 s",
    "35": "TLS failed",
    "56": "the connection was broken off",
    "60": "its certificate is not trusted",
    "97": "the proxy refused",
}


@dataclass(frozen=True)
class Source:
    """An origin, `https://host[:port]/`, and the ids of the resources whose changes need it."""

    url: str
    needed_by: tuple[str, ...]

    @property
    def subject(self) -> str:
        """For findings."""
        return f"source {self.url.rstrip('/')}"


def sources(plan: Plan) -> tuple[Source, ...]:
    """Of a plan's changes, each origin once, in order. The distribution's own package mirrors are not among them."""
    resources = {resource.id: resource for resource in plan.declared.resources}
    found: dict[str, list[str]] = {}
    for change in plan.changes:
        for address in _addresses(resources[change.resource]):
            parts = urlsplit(address)
            found.setdefault(f"{parts.scheme}://{parts.netloc}/", []).append(change.resource)
    return tuple(Source(url, tuple(dict.fromkeys(ids))) for url, ids in found.items())


def _addresses(resource: Resource) -> Iterator[str]:
    match resource:
        case Release(archive=tuple() as addresses):
            yield from addresses[:1]
        case Repository():
            yield resource.uri
            if isinstance(resource.key, str):
                yield resource.key
        case Image(archive=None):
            yield f"https://{_registry(resource.name)}/"
        case OllamaModel(gguf=None):
            yield f"{'http' if resource.insecure else 'https'}://{resource.remote.host}/"
        case _:
            pass


def _registry(image: str) -> str:
    """The first part of a name is a host when it looks like one (distribution: reference/normalize.go)."""
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else DOCKER_HUB


def proxy(plan: Plan) -> dict[str, str]:
    """The declared proxy, which the host may not have yet: `HTTPS_PROXY` and the others."""
    for resource in plan.declared.resources:
        if isinstance(resource, File) and resource.path == PROXY_FILE and isinstance(resource.content, str):
            return dict(re.findall(r'^([A-Z_]+)="(.*)"$', resource.content, re.MULTILINE))
    return {}


def question(source: Source) -> str:
    """A fragment that prints `rc=N` of a request to the origin, or `curl=missing`.

    The proxy is that of the environment, else that which an earlier run left on the host. Any answer will do: what the
    origin says to a bare request means nothing.
    """
    name = quote(urlsplit(source.url).hostname or "")
    return f"""\
if [ -z "${{HTTPS_PROXY:-}}${{HTTP_PROXY:-}}" ] && [ -r {PROXY_FILE} ]; then set -a; . {PROXY_FILE}; set +a; fi
http_proxy=${{HTTP_PROXY:-}} https_proxy=${{HTTPS_PROXY:-}} no_proxy=${{NO_PROXY:-}}
export http_proxy https_proxy no_proxy
if ! command -v curl >/dev/null; then
    echo curl=missing
    [ -n "$http_proxy$https_proxy" ] || getent ahosts {name} >/dev/null || echo rc=6
    exit 0
fi
curl -sS -o /dev/null --connect-timeout 5 --max-time 10 {quote(source.url)}
echo "rc=$?"
"""


def judged(source: Source, section: Section) -> Finding:
    """What the answer means."""
    answers = dict(line.partition("=")[::2] for line in section.lines)
    status = answers.get("rc", "0" if answers.get("curl") else "28")
    needed = f"needed by {_some(source.needed_by)}"
    if status == "0":
        untried = ", but not tried: curl is not there yet" if "curl" in answers else ""
        return Finding("ok", source.subject, f"can be reached{untried}; {needed}")
    if status not in _FAILURES:
        # Something answered, and curl did not like what it said: an HTTP/2 quirk, an empty reply.
        return Finding("ok", source.subject, f"answers; {needed}")
    said = printable(section.err.decode("utf-8", "replace").strip().rpartition("\n")[2], 160)
    text = f"cannot be reached from the host: {_FAILURES[status]}{f' ({said})' if said else ''}; {needed}"
    return Finding("warning", source.subject, text)


def _some(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{first} and {len(rest)} more" if rest else first
