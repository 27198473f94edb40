"""The key that signs sessions and encrypts stored tokens: made once on the host, kept for ever."""

from collections.abc import Iterator

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.values import quote


@dataclass(frozen=True)
class Key:
    """The key's file: `mode` and `owner` as `stat` says, `size` in bytes; all empty when there is none."""

    mode: str = ""
    owner: str = ""
    size: int = 0


@dataclass(frozen=True)
class SecretKey:
    """A file of 64 hexadecimal digits, 0600 root. Its value never leaves the host.

    A container that is there already gives its own: another key would sign everybody out and make stored tokens
    unreadable (open-webui: env.py, OAUTH_SESSION_TOKEN_ENCRYPTION_KEY).
    """

    path: str
    container: str

    @property
    def id(self) -> str:
        """`secret_key:PATH`."""
        return f"secret_key:{self.path}"

    def probe(self) -> str:
        """Mode, owner and size."""
        return f"[ -e {quote(self.path)} ] || exit 0\nstat -c '%a %U:%G %s' {quote(self.path)}\n"

    def observe(self, section: Section) -> Key:
        """What `stat` said."""
        words = section.text.split()
        if not words:
            return Key()
        if section.rc or len(words) != 3 or not words[2].isdigit():
            raise ValueError(f"stat of {self.path} said {section.text[:100]!r}")
        return Key(words[0], words[1], int(words[2]))

    def plan(self, observed: Key, pending: Pending) -> Change | None:
        """`create` when there is none or an empty one; `protect` when others could read it."""
        if not observed.size:
            return Change(self.id, "create", "there is none", {}, {"mode": "600"})
        if (observed.mode, observed.owner) != ("600", "root:root"):
            before = {"mode": observed.mode, "owner": observed.owner}
            return Change(self.id, "protect", "others could read it", before, {"mode": "600", "owner": "root:root"})
        return None

    def steps(self, change: Change) -> Iterator[Step]:
        """Protect it, or make it."""
        if change.action == "protect":
            yield Run(f"chown root:root {quote(self.path)} && chmod 600 {quote(self.path)}\n")
        else:
            yield Run(_MAKE.format(path=quote(self.path), container=quote(self.container)))


# `docker cp` and not `exec`: the container may be stopped. The published image's start.sh keeps a key that it made
# itself in /app/backend, outside the volume.
_MAKE = """\
umask 077
new={path}.new
key=
if command -v docker >/dev/null 2>&1 && docker inspect {container} >/dev/null 2>&1; then
    key=$(docker inspect -f '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' {container} |
        sed -n 's/^WEBUI_SECRET_KEY=//p')
    [ -n "$key" ] ||
        key=$(docker cp {container}:/app/backend/.webui_secret_key - 2>/dev/null | tar -xO 2>/dev/null || :)
fi
if [ -n "$key" ]; then
    printf '%s' "$key" >"$new"
else
    od -An -tx1 -N32 /dev/urandom | tr -d ' \\n' >"$new"
fi
[ -s "$new" ] || {{ echo 'no key could be made' >&2; exit 1; }}
sync "$new" 2>/dev/null || :
mv -f "$new" {path}
"""
