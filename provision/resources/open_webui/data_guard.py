"""Never start on an empty volume while the data of an earlier installation lie in another one."""

from collections.abc import Iterator
from typing import ClassVar

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.open_webui.instance import DATA
from provision.values import printable, quote


@dataclass(frozen=True)
class DataFound:
    """Whether the declared volume holds a database, and which other volumes and folders do."""

    here: bool
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataGuard:
    """Changes nothing: it stops the host when the declared volume is empty and another one holds a webui.db.

    Args:
        volume: name of the declared volume, or an absolute path.
    """

    owned: ClassVar[bool] = False
    volume: str

    @property
    def id(self) -> str:
        """`open_webui_data:VOLUME`."""
        return f"open_webui_data:{self.volume}"

    def probe(self) -> str:
        """Looks elsewhere only when nothing is here; in Docker's usual folder first, which costs no call."""
        return _PROBE.format(volume=quote(self.volume), data=DATA)

    def observe(self, section: Section) -> DataFound:
        """Lines `here`, or names of volumes and folders."""
        if section.rc:
            raise ValueError(f"cannot look for volumes: {section.err.decode('utf-8', 'replace').strip()[:200]}")
        names = [printable(line, 200) for line in section.lines if line]
        return DataFound("here" in names, tuple(sorted(set(names) - {"here", self.volume})))

    def plan(self, observed: DataFound, pending: Pending) -> Change | None:
        """`refuse` when data lie elsewhere."""
        if observed.here or not observed.elsewhere:
            return None
        why = f"{self.volume} is empty, but {' and '.join(observed.elsewhere)} holds data of Open WebUI"
        return Change(self.id, "refuse", why, {"data": list(observed.elsewhere)}, {"data": self.volume})

    def steps(self, change: Change) -> Iterator[Step]:
        """Fail with the way out."""
        found = change.before["data"][0]
        message = f"{change.why}; set open_webui.volume: {found}, or open_webui.allow_empty: true to start anew"
        yield Run(f"echo {quote(message)} >&2\nexit 1\n")


_PROBE = """\
volume={volume}
case $volume in
/*) here=$volume ;;
*) here=/var/lib/docker/volumes/$volume/_data ;;
esac
[ ! -f "$here/webui.db" ] || {{ echo here; exit 0; }}
command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1 || exit 0
{{
    docker volume ls -q | xargs -r docker volume inspect -f '{{{{.Name}}}} {{{{.Mountpoint}}}}'
    docker ps -aq |
        xargs -r docker inspect -f '{{{{range .Mounts}}}}{{{{println .Type .Destination .Source}}}}{{{{end}}}}' |
        sed -n 's|^bind {data} \\(.*\\)$|\\1 \\1|p'
}} | while read -r name folder; do
    [ -f "$folder/webui.db" ] || continue
    [ "$name" != "$volume" ] || {{ echo here; break; }}
    echo "$name"
done
"""
