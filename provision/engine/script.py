"""Many fragments, one script: the probes of all resources of a host, or steps that need no answer in between.

Each fragment runs by `eval` in a subshell of its own, so that its `exit`, its variables and even a syntax error stay
with it. Probes run several at a time: most of their time they wait for others (systemd, dpkg, Docker); those of one
`Together` type are one fragment. What a fragment prints goes to two files; after the last one all are sent at once (two
processes, whatever their number), framed by a nonce that no fragment knows and by their sizes, so that no output can
pretend to be another resource's.
"""

import itertools
import secrets as random
from collections.abc import Mapping

from provision.dataclass import dataclass
from provision.resources.base import Section, Together
from provision.values import quote

LIMIT = 1 << 20
"""Bytes of each output of a fragment that come back."""

LANES = 4
"""Probes that run at a time."""

_BEGIN = """\
umask 022
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
_provision=$(mktemp -d /run/provision-XXXXXXXX 2>/dev/null || mktemp -d) || exit 125
trap 'rm -rf "$_provision"' EXIT
trap 'exit 129' HUP INT TERM
mkdir "$_provision/tmp" "$_provision/out" || exit 125
PROVISION_TMP=$_provision/tmp
export PROVISION_TMP
"""

_FRAGMENT = """\
(
{limit}eval {fragment}
) </dev/null >"$_provision/out/{number}.o" 2>"$_provision/out/{number}.e"
echo $? >"$_provision/out/{number}.s"
"""

# No subshell: a process for each of hundreds of files would cost more than all that is asked of them.
_SHARED = """\
{{
{fragment}
}} >"$_provision/out/{number}.o" 2>"$_provision/out/{number}.e"
echo $? >"$_provision/out/{number}.s"
"""

_STOP = """\
read -r r <"$_provision/out/{number}.s"
[ "$r" = 0 ] || stop=1
"""

_END = """\
cd "$_provision/out" || exit 125
s='' n=0
set --
while [ "$n" -lt {count} ] && [ -e "$n.o" ]; do
    # A fragment that could not end by itself has no status.
    r=125
    [ ! -e "$n.s" ] || read -r r <"$n.s"
    s="$s $r"
    set -- "$@" "$n.o" "$n.e"
    n=$((n + 1))
done
{shorten}printf '%s%s\\n' {nonce} "$s"
wc -c "$@"
echo {nonce}
cat "$@"
"""

# A step may print more than anybody reads: only the end of it comes back.
_SHORTEN = """\
for f; do
    tail -c 65536 "$f" >"$_provision/short" && mv "$_provision/short" "$f"
done
"""

# A file larger than this ends the fragment (SIGXFSZ): the shell's own bound, without a process. Blocks of 512 bytes in
# dash and busybox, of 1024 in bash.
_ULIMIT = f"ulimit -f {LIMIT // 512}\n"


@dataclass(frozen=True)
class Script:
    """A script for one request, and what is needed to read its answer.

    Args:
        text: POSIX sh.
        names: of the fragments, in order.
        chained: fragments after a failed one are not run.
    """

    text: str
    names: tuple[str, ...]
    nonce: str
    chained: bool = False

    def parse(self, out: bytes) -> dict[str, Section]:
        """What each fragment printed, by name. Those that a chain did not run are missing.

        Raises:
            ValueError: this is not the answer to this script.
        """
        head, framed, rest = out.partition(f"\n{self.nonce}\n".encode())
        lines = head.decode("utf-8", "replace").splitlines()
        if not framed or not lines or not lines[0].startswith(self.nonce + " "):
            raise ValueError("the answer is not framed as it should be")
        statuses = [int(word) for word in lines[0].split()[1:]]
        sizes = [int(line.split()[0]) for line in lines[1 : 1 + 2 * len(statuses)]]
        if len(statuses) > len(self.names) or len(sizes) != 2 * len(statuses) or sum(sizes) != len(rest):
            raise ValueError("the answer does not have the size that it announces")
        if len(statuses) < len(self.names) and not self.chained:
            raise ValueError(f"it stops before {self.names[len(statuses)]}")
        pieces: list[bytes] = []
        for size in sizes:
            pieces.append(rest[:size][:LIMIT])
            rest = rest[size:]
        return {
            name: Section(status, out=pieces[2 * number], err=pieces[2 * number + 1])
            for number, (name, status) in enumerate(zip(self.names, statuses, strict=False))
        }


def probes(fragments: Mapping[str, str], lanes: int = LANES) -> Script:
    """A script that runs every fragment, whatever the others do, `lanes` at a time.

    Those that use the directory `$PROVISION_TMP`, in which an earlier one may leave an expensive answer for later ones,
    run one after the other, in order.
    """
    nonce = random.token_hex(16)
    parts: list[tuple[bool, str]] = []
    together: dict[tuple[type[Together], str], dict[int, Together]] = {}
    for number, fragment in enumerate(fragments.values()):
        if isinstance(fragment, Together):
            together.setdefault((type(fragment), fragment.key), {})[number] = fragment
        else:
            parts.append(("PROVISION_TMP" in fragment, _fragment(number, fragment, _ULIMIT)))
    parts += ((False, _together(kind, asked)) for (kind, _), asked in together.items())
    queues: list[list[str]] = [[] for _ in range(lanes)]
    free = itertools.cycle(range(min(1, lanes - 1), lanes))
    for shared, part in parts:
        queues[0 if shared else next(free)].append(part)
    body = "".join("{\n" + "".join(queue) + "} &\n" for queue in queues if queue) + "wait\n"
    end = _END.format(nonce=nonce, count=len(fragments), shorten="")
    return Script(_BEGIN + body + end, tuple(fragments), nonce)


def chain(fragments: Mapping[str, str]) -> Script:
    """A script that runs the fragments in order up to the first that fails.

    They share `$PROVISION_TMP`. Their output is not bounded on the host: they may write large files.
    """
    nonce = random.token_hex(16)
    body = "stop=\n"
    for number, fragment in enumerate(fragments.values()):
        body += 'if [ -z "$stop" ]; then\n' + _fragment(number, fragment, "") + _STOP.format(number=number) + "fi\n"
    end = _END.format(nonce=nonce, count=len(fragments), shorten=_SHORTEN)
    return Script(_BEGIN + body + end, tuple(fragments), nonce, chained=True)


def _together(kind: type[Together], asked: Mapping[int, Together]) -> str:
    each = "".join(_SHARED.format(number=number, fragment=one.shared()) for number, one in asked.items())
    return f"(\n{_ULIMIT}{kind.prepare(tuple(asked.values()))}{each}) </dev/null 2>/dev/null\n"


def _fragment(number: int, fragment: str, limit: str) -> str:
    return _FRAGMENT.format(number=number, fragment=quote(fragment), limit=limit)
