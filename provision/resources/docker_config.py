"""Docker's /etc/docker/daemon.json: our keys merged into what stands there, everything else kept."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from provision.dataclass import dataclass
from provision.resources.base import Change, Diff, Pending, Run, Section, Step
from provision.resources.file import File
from provision.resources.look import Found, Look, seen

PATH = "/etc/docker/daemon.json"
KEPT = "/etc/docker/.daemon.json.before"
"""The file as it was before our last change, for `RESTORE`: empty when there was none, and as old as that change."""

RESTORE = f"""\
if [ -e {KEPT} ] && [ -z "$(find {PATH} -newer {KEPT} 2>/dev/null)" ]; then
    if [ -s {KEPT} ]; then mv -f {KEPT} {PATH}; else rm -f {KEPT} {PATH}; fi
fi
"""
"""A fragment that takes the last change back, for a daemon that does not start with it. Later changes stay."""

RELOADABLE = frozenset(
    {
        "debug",
        "default-runtime",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
"""Keys that a running engine takes over, unless they are taken out (moby: daemon/reload.go, of 20.10 as of 29)."""

# Old units only send SIGHUP and do not wait; an engine that refuses its new configuration says so in its log alone.
# What it has taken over it tells as an event, of which it keeps the last 256.
RELOAD = """\
since=$(date +%s.%N)
systemctl reload docker.service || exit 1
n=0
until [ -n "$(timeout 20 docker events --since "$since" --until "$(date +%s.%N)" \
    --filter type=daemon --filter event=reload 2>/dev/null)" ]; do
    n=$((n + 1))
    if [ $n -ge 50 ]; then
        echo "the engine did not take over its configuration:" \
            "$(journalctl -q -n 2 --no-pager -o cat -u docker.service | tr '\n' '|')" >&2
        exit 1
    fi
    sleep 0.2
done
"""
"""A fragment that makes the running engine take over the file; it ends with 1 when the engine does not."""

KEEP_CONTAINERS = f"""\
if grep -Eq '"live-restore"[[:space:]]*:[[:space:]]*true' {PATH} 2>/dev/null &&
    [ "$(timeout 20 docker info --format '{{{{.LiveRestoreEnabled}}}}' 2>/dev/null)" = false ]; then
    {RELOAD.strip()}
fi
"""
"""A fragment before a restart: containers survive it only when live-restore counts already in the engine that stops."""


@dataclass(frozen=True)
class DockerConfig:
    """These keys stand in daemon.json with these values: mappings are merged key by key, lists and scalars replaced.

    The new file is validated by `dockerd --validate` where the engine has that (>= 23.0).

    Args:
        wanted: JSON values.
        absent: top-level keys that must not be there.
        part: tells a second statement about the file from the first.
    """

    wanted: Mapping[str, Any]
    absent: tuple[str, ...] = ()
    part: str = ""

    @property
    def id(self) -> str:
        """`docker-config:daemon.json`, with `/PART`."""
        return f"docker-config:daemon.json/{self.part}" if self.part else "docker-config:daemon.json"

    def probe(self) -> str:
        """The file."""
        return Look(PATH, content=True)

    def observe(self, section: Section) -> Found:
        """The file."""
        return seen(section)

    def plan(self, observed: Found, pending: Pending) -> Change | None:
        """`create` or `update`.

        Raises:
            ValueError: what stands there is no JSON object, so nothing can be kept of it.
        """
        earlier = [change for name, change in pending.changes.items() if name.startswith("docker-config:")]
        if earlier:
            # Another statement about the file comes first: this one adds to what it will write.
            actual: Any = parse(str(earlier[-1].private).encode())
        elif observed.kind == "missing":
            actual = {}
        elif observed.kind == "file" and observed.content is not None:
            actual = parse(observed.content)
        elif observed.kind == "file":
            raise ValueError(f"{PATH} has {observed.size} bytes, which is more than a configuration has")
        else:
            raise ValueError(f"a {observed.kind} stands at {PATH}; move it away")
        merged = {key: value for key, value in merge(actual, self.wanted).items() if key not in self.absent}
        if merged == actual and (merged or observed.kind == "file" or not self.wanted):
            return None
        keys = sorted(key for key in {**actual, **merged} if actual.get(key) != merged.get(key))
        text = json.dumps(merged, indent=4, sort_keys=True) + "\n"
        before = {key: actual.get(key) for key in keys}
        after = {key: merged.get(key) for key in keys}
        old = json.dumps(actual, indent=4, sort_keys=True) + "\n" if actual else ""
        action = "create" if observed.kind == "missing" and not earlier else "update"
        diffs, reload = (Diff(PATH, old, text),), set(keys) <= RELOADABLE & merged.keys()
        return Change(self.id, action, ", ".join(keys), before, after, diffs, reload=reload, private=text)

    def steps(self, change: Change) -> Iterator[Step]:
        """Validate beside its place, keep the old one, rename."""
        new = PATH + ".provision"
        yield from File(new, str(change.private)).steps(change)
        yield Run(_SWITCH.format(new=new, path=PATH, kept=KEPT))


_SWITCH = """\
if command -v dockerd >/dev/null && dockerd --help 2>&1 | grep -q -- --validate; then
    said=$(dockerd --validate --config-file={new} 2>&1) || {{ rm -f {new}; echo "$said" >&2; exit 1; }}
fi
rm -f {kept}
if [ -e {path} ]; then cp -p {path} {kept} || exit 1; fi
mv -f {new} {path} && touch {kept}
"""


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object in a daemon.json; an empty file is an empty one.

    Raises:
        ValueError: it is something else.
    """
    try:
        value = json.loads(content) if content.strip() else {}
    except ValueError as error:
        raise ValueError(f"{PATH} is not valid JSON ({error}); mend it or move it away") from error
    if not isinstance(value, dict):
        raise ValueError(f"{PATH} is not a JSON object; mend it or move it away")
    return value


def merge(actual: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` laid over `actual`, mappings key by key."""
    merged = dict(actual)
    for key, value in wanted.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
