"""A Docker engine of another kind than the declared one: kept and named, or replaced, and what ran on it runs again."""

from collections.abc import Iterator
from typing import ClassVar

from provision.dataclass import dataclass
from provision.resources.base import Change, Job, Pending, Section, Step
from provision.resources.managers import apt_progress, shell
from provision.values import printable, quote, sha256

# All that comes with an engine, and so may go with it; nothing else is taken away.
_GOING = (
    "docker.io docker-cli docker-doc docker-buildx docker-compose docker-compose-v2 containerd runc podman-docker"
    " docker-ce docker-ce-cli docker-ce-rootless-extras docker-buildx-plugin docker-compose-plugin docker-model-plugin"
    " containerd.io moby-engine moby-cli moby-containerd moby-runc moby-buildx moby-compose moby-tini"
)


@dataclass(frozen=True)
class Engines:
    """Whether the other one is installed, and the names of the containers that run on it."""

    there: bool
    running: tuple[str, ...] = ()


@dataclass(frozen=True)
class OtherEngine:
    """`old`'s engine gives way to that of `new`, if `replace` allows it.

    Both keep images, volumes and containers in the same places. Containers stop for the exchange; those that ran are
    started again, whatever their restart policy says.

    Args:
        old: the package that is there.
        new: packages of the declared engine.
        replace: False: only a remark is made.
    """

    owned: ClassVar[bool] = False
    old: str
    new: tuple[str, ...]
    replace: bool = False

    @property
    def id(self) -> str:
        """`docker-engine:PACKAGE`."""
        return f"docker-engine:{self.old}"

    def probe(self) -> str:
        """Whether its package is installed, and what runs."""
        return (
            f"[ \"$(dpkg-query -W -f='${{db:Status-Status}}' {quote(self.old)} 2>/dev/null)\" = installed ] || exit 0\n"
            "echo there\ntimeout 10 docker ps --format 'running={{.Names}}' 2>/dev/null\n:\n"
        )

    def observe(self, section: Section) -> Engines:
        """What is there."""
        names = (line.removeprefix("running=") for line in section.lines if line.startswith("running="))
        return Engines("there" in section.lines, tuple(printable(name, 100) for name in names))

    def plan(self, observed: Engines, pending: Pending) -> Change | None:
        """`replace`, with the containers that stop for it."""
        if not self.replace or not observed.there:
            return None
        why = f"{self.old} -> {self.new[0]}"
        if observed.running:
            why += f"; containers stop for it and are started again: {', '.join(observed.running)}"
        before = {"package": self.old, "running": list(observed.running)}
        return Change(self.id, "replace", why, before, {"packages": list(self.new)})

    def remark(self, observed: Engines) -> str:
        """Why the declared one is not there."""
        if self.replace or not observed.there:
            return ""
        count = len(observed.running)
        running = f", which stops its {count} running container{'s' if count > 1 else ''} for a moment" if count else ""
        return f"{self.id}: {self.old} is kept, {self.new[0]} is declared; docker.replace: true exchanges them{running}"

    def steps(self, change: Change) -> Iterator[Step]:
        """One job and one transaction, of packages that were fetched before anything stops."""
        script = _REPLACE.format(
            new=" ".join(quote(name) for name in self.new),
            # Not every kind conflicts with every other: what is there is named as going.
            old=quote(f"{self.old}-"),
            going=_GOING,
            keep="docker" if self.old != "podman-docker" else "true",
        )
        yield Job(
            f"docker-engine-{sha256(self.old + ' '.join(self.new))[:12]}",
            shell("apt-get") + script,
            progress=apt_progress,
            timeout=3600,
        )


_REPLACE = """\
set -- {new} {old}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
told() {{
    grep -m 1 -E '^(E:|dpkg: error|Err:)' "$log" || echo 'the engine cannot be replaced'
    exit 100
}}
solved() {{ apt install -s --no-install-recommends "$@" >"$log" 2>&1; }}
solved "$@" || {{ apt update && solved "$@"; }} || told
going='{going}'
gone=$(awk '$1 == "Remv" {{ sub(/:.*/, "", $2); print $2 }}' "$log")
for one in $gone; do
    case " $going " in
    *" $one "*) ;;
    *) echo "$one would go with the engine: remove it, or leave out docker.replace" && exit 1 ;;
    esac
done
apt install --download-only --no-install-recommends "$@" >"$log" 2>&1 || told
ran=$(timeout 20 {keep} ps -q --no-trunc)
apt install --no-install-recommends "$@" 2>&1 | tee "$log"
systemctl daemon-reload
dpkg-query -W -f='${{db:Status-Status}}\\n' {new} 2>&1 | grep -qv '^installed$' && told
systemctl start docker.service || {{ echo 'the new engine does not start: see journalctl -u docker' && exit 1; }}
there=$(timeout 20 docker ps -a -q --no-trunc)
for one in $ran; do
    case $there in *"$one"*) docker start "$one" >/dev/null || exit 1 ;; esac
done
"""
