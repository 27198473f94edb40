"""Room on a host's file systems, looked at before something large is brought."""

from provision.resources.base import Run
from provision.values import human_bytes, quote

SPARE = 1.1
"""Free space wanted, as a multiple of what is brought."""


def space(size: int, folder: str) -> Run:
    """Fails with numbers when `folder`'s file system has no room for `size` bytes and a tenth more."""
    need = int(size * SPARE)
    complaint = f"no space in {folder}: {human_bytes(need)} are needed, "
    return Run(_SPACE.format(folder=quote(folder), kib=need // 1024, complaint=quote(complaint)))


_SPACE = """\
d={folder}
while [ ! -d "$d" ] && [ "$d" != / ]; do d=$(dirname "$d"); done
df -Pk "$d" | tail -n 1 | {{
    read -r _ _ _ free _
    if [ "$free" -lt {kib} ]; then
        echo {complaint}"$((free * 128 / 125000)) MB are free" >&2
        exit 1
    fi
}}
"""
