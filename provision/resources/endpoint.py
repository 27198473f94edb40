"""Wait until an HTTP address of the host answers what it should."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, ClassVar

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.values import printable, quote

_BODY = 4096
"""Bytes of an answer that are looked at: health and version answers are short."""


@dataclass(frozen=True)
class Answered:
    """What the address said. `status` is 0 when there was no HTTP answer; then `complaint` says why."""

    status: int
    body: str = ""
    complaint: str = ""

    @property
    def summary(self) -> str:
        """One short line for a message."""
        if not self.status:
            return self.complaint or "no answer"
        return f"HTTP {self.status} {printable(' '.join(self.body.split()), 160)}".rstrip()


@dataclass(frozen=True)
class Endpoint:
    """A read-only wait: an HTTP address answers with a status and, if given, with JSON that contains `expect`.

    Args:
        url: asked from the host itself, never through a proxy.
        expect: keys and values that the JSON answer must contain (mappings are compared key by key).
        status: the HTTP status.
        timeout: seconds to wait until it is so.
        after: resources whose change makes it worth waiting again.
    """

    url: str
    expect: Mapping[str, object] | None = None
    status: int = 200
    timeout: float = 60
    after: tuple[Resource | str, ...] = field(default=(), repr=False)
    owned: ClassVar[bool] = False

    @property
    def id(self) -> str:
        """`endpoint:URL`."""
        return f"endpoint:{self.url}"

    def probe(self) -> str:
        """Asks once; prints the body, then the status alone on the last line."""
        return (
            "command -v curl >/dev/null 2>&1 || { echo 'curl is not installed' >&2; exit 3; }\n"
            f"curl -sS --noproxy '*' --max-time 2 --max-filesize 1048576 -w '\\n%{{http_code}}\\n' {quote(self.url)}\n"
        )

    def observe(self, section: Section) -> Answered:
        """The answer; an address that does not answer is an answer too."""
        body, _, status = section.text.rstrip("\n").rpartition("\n")
        if section.rc or not status.isdigit():
            complaint = section.err.decode("utf-8", "replace").strip().rpartition("\n")[2]
            return Answered(0, complaint=printable(complaint, 200))
        return Answered(int(status), body[:_BODY])

    def plan(self, observed: Answered, pending: Pending) -> Change | None:
        """`wait` when the answer differs, or will be another one because of an earlier change."""
        wanted = {"status": self.status, **({"json": dict(self.expect)} if self.expect else {})}
        before = {"answer": observed.summary}
        if earlier := pending.any(*self.after):
            return Change(self.id, "wait", f"after {earlier.action} of {earlier.resource}", before, wanted)
        if self.satisfied(observed):
            return None
        return Change(self.id, "wait", f"answers {observed.summary}", before, wanted)

    def satisfied(self, observed: Answered) -> bool:
        """Whether this is the awaited answer."""
        if observed.status != self.status:
            return False
        if not self.expect:
            return True
        try:
            return contains(json.loads(observed.body), self.expect)
        except ValueError:
            return False

    def steps(self, change: Change) -> Iterator[Step]:
        """One script that polls on the host, so that waiting costs one request."""
        needles = leaves(self.expect or {})
        # No JSON tool can be relied on: blanks are dropped and the leaves are looked up as text. This only ends the
        # wait; the probe after it compares the parsed answer.
        checks = "".join(f" && has {quote(''.join(needle.split()))}" for needle in needles)
        yield Run(
            _WAIT.format(url=quote(self.url), seconds=int(self.timeout), status=self.status, checks=checks),
            timeout=self.timeout + 30,
        )


_WAIT = """\
end=$(($(date +%s) + {seconds}))
has() {{ case $flat in *"$1"*) return 0 ;; esac; return 1; }}
while :; do
    answer=$(curl -sS --noproxy '*' --max-time 5 --max-filesize 1048576 -w '\\n%{{http_code}}' {url} 2>&1)
    code=$(printf '%s\\n' "$answer" | tail -n 1)
    flat=$(printf '%s' "$answer" | head -c 65536 | tr -d ' \\t\\r\\n')
    if [ "$code" = {status} ]{checks}; then exit 0; fi
    if [ "$(date +%s)" -ge "$end" ]; then break; fi
    sleep 1
done
last=$(printf '%s' "$answer" | head -c 300 | tr '\\n' ' ')
printf 'no such answer within {seconds} s; the last one was: %s\\n' "$last" >&2
exit 1
"""


def contains(actual: object, wanted: object) -> bool:
    """Whether `actual` has all that `wanted` names: mappings key by key, anything else by equality."""
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(
            key in actual and contains(actual[key], value) for key, value in wanted.items()
        )
    return actual == wanted


def leaves(wanted: Mapping[str, Any]) -> list[str]:
    """`"key":value` for every value in `wanted` that is no mapping, as JSON without blanks."""
    found: list[str] = []
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            found += leaves(value)
        else:
            found.append(f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'), ensure_ascii=False)}")
    return found
