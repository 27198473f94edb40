"""A program that comes as an archive: unpacked into a directory of its version, switched to by a symbolic link."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from provision.dataclass import dataclass
from provision.localfiles import file_digest
from provision.resources.base import Change, Job, Pending, Progress, Run, Section, Step, Upload
from provision.resources.file import switch
from provision.resources.selinux import relabelled
from provision.resources.space import space
from provision.values import human_bytes, printable, quote

RECORD = ".provision-release"
"""In the unpacked directory: the archive's SHA-256. Written last, so a directory without it is half made."""


@dataclass(frozen=True)
class Installed:
    """What is there: where the link leads, and the recorded digest of the wanted version's directory ("" if none).

    `further` are the archives that were unpacked over the first, name -> digest.
    """

    link: str
    digest: str
    other: str = ""
    further: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Further:
    """Another archive of the same version, unpacked over the first one: libraries for one kind of GPU.

    `archive` and `sha256` are as a release's own.
    """

    archive: Path | tuple[str, ...] = field(repr=False)
    sha256: str = ""

    @property
    def file_name(self) -> str:
        """The archive's name."""
        return self.archive.name if isinstance(self.archive, Path) else posixpath.basename(self.archive[0])

    @property
    def digest(self) -> str:
        """The archive's SHA-256 where it is known before the host is asked."""
        return self.sha256 or (file_digest(self.archive) if isinstance(self.archive, Path) else "")

    @property
    def tool(self) -> str:
        """What unpacks it."""
        return "zstd" if self.file_name.endswith(".zst") else "gzip"


@dataclass(frozen=True)
class Release:
    """A version of a program under `/opt/NAME/VERSION`, and a link in the path to its binary.

    The archive's digest is compared before anything is unpacked. What runs stays until the new version is whole.

    Args:
        name: `ollama`.
        version: `0.32.15`.
        archive: a file of the control machine, or the URLs to try in order. Its name ends with `.tgz` or `.tar.zst`.
        sha256: hex digest of the archive; "": the host compares with the `sha256sum.txt` beside the first URL.
        binary: path of the program inside the archive.
        link: where it is found in the path.
        proxy_file: a file of shell assignments (`HTTPS_PROXY=...`) that the download reads, if it exists.
        stall: seconds without a new byte after which the download is begun again where it stood.
        not_in: a directory of the control machine where the archive was looked for in vain: plan and errors name it.
        further: archives that are unpacked over the first.
    """

    name: str
    version: str
    archive: Path | tuple[str, ...] = field(repr=False)
    sha256: str = ""
    binary: str = "bin/ollama"
    link: str = "/usr/local/bin/ollama"
    proxy_file: str = ""
    stall: float = 120.0
    not_in: Path | None = None
    further: tuple[Further, ...] = ()

    @property
    def id(self) -> str:
        """`release:NAME`."""
        return f"release:{self.name}"

    @property
    def home(self) -> str:
        """The version's own directory."""
        return f"/opt/{self.name}/{self.version}"

    @property
    def target(self) -> str:
        """What the link leads to."""
        return f"{self.home}/{self.binary}"

    @property
    def _aside(self) -> str:
        return f"{self.link}.before-provision"

    @property
    def file_name(self) -> str:
        """The archive's name."""
        return self._all[0].file_name

    @property
    def digest(self) -> str:
        """The archive's SHA-256 where it is known before the host is asked."""
        return self._all[0].digest

    @property
    def _all(self) -> tuple[Further, ...]:
        return (Further(self.archive, self.sha256), *self.further)

    def probe(self) -> str:
        """Where the link leads, and the record."""
        return (
            f'printf "link=%s\\n" "$(readlink -- {quote(self.link)})"\n'
            f'[ -x {quote(self.target)} ] && sed "1s/^/digest=/;2,\\$s/^/further=/" {quote(f"{self.home}/{RECORD}")}\n'
            f"[ -L {quote(self.link)} ] || [ ! -e {quote(self.link)} ] || echo other=file\n:\n"
        )

    def observe(self, section: Section) -> Installed:
        """What is there."""
        values = dict(line.partition("=")[::2] for line in section.lines)
        lines = (line.removeprefix("further=").split() for line in section.lines if line.startswith("further="))
        further = {words[1]: words[0] for words in lines if len(words) == 2}
        return Installed(values.get("link", ""), values.get("digest", ""), values.get("other", ""), further)

    def plan(self, observed: Installed, pending: Pending) -> Change | None:
        """`install` a version, or `switch` to one that is there already.

        Raises:
            ValueError: a local archive does not have the declared digest.
        """
        for one in self._all:
            if one.sha256 and isinstance(one.archive, Path) and file_digest(one.archive) != one.sha256:
                raise ValueError(f"{one.archive} has the SHA-256 {file_digest(one.archive)}, declared is {one.sha256}")
        missing = [one.file_name for one in self.further if not _has(observed, one)]
        whole = bool(observed.digest) and self.digest in ("", observed.digest) and not missing
        if whole and observed.link == self.target:
            return None
        before = {"link": observed.link}
        after = {"version": self.version, "link": self.target}
        seen = observed.link.removeprefix(f"/opt/{self.name}/").partition("/")[0]
        why = f"version {seen} -> {self.version}" if seen not in ("", self.version) else f"version {self.version}"
        if observed.other:
            why += f"; the file at {self.link} becomes {posixpath.basename(self._aside)}"
        if whole:
            return Change(self.id, "switch", why, before, after)
        if missing:
            why += f" with {', '.join(missing)}"
        if self.not_in:
            why += f"; not in {self.not_in}, so the host downloads it"
        sizes = [one.archive.stat().st_size for one in self._all if isinstance(one.archive, Path)]
        size = sum(sizes) if len(sizes) == len(self._all) else None
        return Change(self.id, "install", why, before, after, download=size)

    def steps(self, change: Change) -> Iterator[Step]:
        """Look for room and tools, fetch, compare, unpack beside its place, rename, switch."""
        if change.action == "install":
            yield Run("".join(self._begin(one) for one in self._all))
            for number, one in enumerate(self._all):
                if isinstance(one.archive, Path):
                    yield space(one.archive.stat().st_size, f"/opt/{self.name}")
                    yield Upload(self._waiting(one), one.archive, one.digest)
                else:
                    name = f"fetch-{self.name}-{self.version}{f'-{number}' if number else ''}".lower().replace(".", "-")
                    script = self._fetch(one, one.archive)
                    yield Job(name, script, progress=fetch_progress, stall=self.stall, retries=2)
            yield Run(self._unpack(), timeout=900)
        folder = quote(posixpath.dirname(self.link))
        yield Run(f"mkdir -p {folder}\n{_move_aside(self.link, self._aside)}{switch(self.link, self.target)}")

    def _waiting(self, one: Further) -> str:
        """Where an archive lies until it is unpacked."""
        return f"/opt/{self.name}/.{self.version}-{one.file_name}"

    def _begin(self, one: Further) -> str:
        names = " ".join(f"! -name {quote(posixpath.basename(self._waiting(each)))}" for each in self._all)
        return _BEGIN.format(
            folder=quote(f"/opt/{self.name}"),
            others=names,
            tool=one.tool,
            missing=quote(f"{one.tool} is not installed, which unpacks {one.file_name}: the role base installs it"),
        )

    def _fetch(self, one: Further, urls: tuple[str, ...]) -> str:
        beside = posixpath.dirname(urls[0]) + "/sha256sum.txt"
        return _FETCH.format(
            waiting=quote(self._waiting(one)),
            folder=quote(f"/opt/{self.name}"),
            urls=" ".join(quote(url) for url in urls),
            sha256=quote(one.sha256),
            sums=quote(beside),
            name=quote(one.file_name),
            proxy=quote(self.proxy_file),
            hint=quote(f"; there is no {one.file_name} in {self.not_in} either" if self.not_in else ""),
        )

    def _unpack(self) -> str:
        first, *others = self._all
        more = "".join(
            f'unpack {quote(self._waiting(one))} {one.tool} && echo "${{have%% *}} "{quote(one.file_name)} '
            f'>>"$s/{RECORD}" || exit 1\n'
            for one in others
        )
        return _UNPACK.format(
            waiting=quote(self._waiting(first)),
            all=" ".join(quote(self._waiting(one)) for one in self._all),
            tool=first.tool,
            more=more,
            folder=quote(f"/opt/{self.name}"),
            home=quote(self.home),
            relabelled=relabelled(quote(self.home)),
            staging=quote(f"/opt/{self.name}/.{self.version}.new"),
            binary=quote(self.binary),
            record=RECORD,
        )


def _has(observed: Installed, one: Further) -> bool:
    return one.file_name in observed.further and one.digest in ("", observed.further[one.file_name])


def fetch_progress(line: str) -> Progress | None:
    """`size DONE TOTAL` lines of the download.

    Raises:
        ValueError: a line that says why the download is of no use.
    """
    words = line.split()
    if words[:1] == ["size"] and len(words) == 3 and words[1].isdigit() and words[2].isdigit():
        done, total = int(words[1]), int(words[2])
        return Progress(f"downloading {human_bytes(done)}", done, total)
    if line.startswith("refused: "):
        raise ValueError(printable(line.removeprefix("refused: "), 400))
    return None


def _move_aside(link: str, aside: str) -> str:
    """A program that stands where the link belongs, put there by somebody else, is not lost."""
    path = quote(link)
    return f"if [ -e {path} ] && [ ! -L {path} ]; then mv -f {path} {quote(aside)} || exit 1; fi\n"


# What an interrupted install of another version left is of no use any more.
_BEGIN = """\
umask 022
command -v {tool} >/dev/null || {{ echo {missing} >&2; exit 1; }}
mkdir -p {folder} || exit 1
find {folder} -mindepth 1 -maxdepth 1 -name '.*' {others} -exec rm -rf {{}} +
"""

# A download goes on where an interrupted one ended (curl -C -); a file with the wrong digest is not kept.
# Progress is told when there is some: only silence tells the job that the download has stalled.
_FETCH = """\
[ -z {proxy} ] || [ ! -r {proxy} ] || {{ set -a; . {proxy}; export http_proxy="${{HTTP_PROXY-}}"; set +a; }}
waiting={waiting} want={sha256} folder={folder}
fail() {{ echo "$1: $(head -n 1 "$waiting.why")$2"; rm -f "$waiting.why"; exit 1; }}
is_whole() {{ have=$(sha256sum <"$waiting") && [ "${{have%% *}}" = "$want" ]; }}
size() {{ stat -c %s "$waiting" 2>/dev/null || echo 0; }}
room() {{
    free=$(df -Pk "$folder" | awk 'END {{ print $4 }}')
    [ "$((free + $(size) / 1024))" -ge "$((total / 1024))" ] && return
    rm -f "$waiting"
    echo "refused: no space in $folder: $((total / 1000000)) MB are needed, $((free * 128 / 125000)) MB are free"
    exit 1
}}
get() {{
    curl -fsSL -C - --connect-timeout 30 -o "$waiting" "$1" 2>"$waiting.why" &
    curl=$! last=''
    while kill -0 $curl 2>/dev/null; do
        now=$(size)
        [ "$now" = "$last" ] || echo "size $now $total"
        last=$now
        sleep 1
    done
    wait $curl
}}
if [ -z "$want" ]; then
    sums=$(curl -fsSL --max-time 60 {sums} 2>"$waiting.why") || fail 'cannot download '{sums} {hint}
    want=$(printf '%s\\n' "$sums" | awk -v n={name} '{{ sub("^[.]/", "", $2) }} $2 == n {{ print $1 }}')
    if [ -z "$want" ]; then
        rm -f "$waiting.why"
        echo 'refused: no SHA-256 is declared, and there is none at '{sums}
        exit 1
    fi
fi
if [ -s "$waiting" ] && is_whole; then exit 0; fi
for url in {urls}; do
    total=$(curl -fsSIL --max-time 60 "$url" 2>/dev/null | tr -d '\\r' |
        awk 'tolower($1) == "content-length:" {{ n = $2 }} END {{ print n + 0 }}')
    room
    began=$(size)
    get "$url"
    rc=$?
    case $began:$rc:$(cat "$waiting.why") in
    # The server cannot begin in the middle, or what is here is no beginning of what it has.
    0:*) false ;;
    *:33:* | *'error: 416'*) true ;;
    *:0:*) ! is_whole ;;
    *) false ;;
    esac && {{ rm -f "$waiting"; get "$url"; rc=$?; }}
    if [ "$rc" = 0 ]; then got=1; break; fi
    case $(cat "$waiting.why") in 'curl: (23)'*) rm -f "$waiting"; fail "cannot write to $folder" ;; esac
done
[ -n "$got" ] || fail "cannot download $url" {hint}
rm -f "$waiting.why"
if ! is_whole; then
    rm -f "$waiting"
    echo "refused: the download has the SHA-256 ${{have%% *}}, expected is $want"
    exit 1
fi
"""

# Members that would leave the directory, and devices, are refused before anything is unpacked. Owners are shown as
# numbers: a name with blanks would shift the columns. -P: names as they are. The awk prints the files' KiB.
_UNPACK = """\
umask 022
s={staging}
trap 'rm -rf "$s" {all}' EXIT
rm -rf "$s"
unpack() {{ # ARCHIVE TOOL: over what is in the staging directory, its digest into $have
w=$1
"$2" -dc -- "$w" | tar -P --numeric-owner -tvf - >"$PROVISION_TMP/members" || {{
    echo 'the archive is damaged' >&2
    exit 1
}}
need=$(awk '
function leaves(path, depth,   parts, n, i) {{
    n = split(path, parts, "/")
    for (i = 1; i <= n; i++) {{
        if (parts[i] == "..") {{ if (--depth < 0) return 1 }} else if (parts[i] != "" && parts[i] != ".") depth++
    }}
    return 0
}}
{{
    kind = substr($0, 1, 1); name = $0; kib += int(($3 + 4095) / 4096) * 4
    sub(/^[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +/, "", name)
    target = ""; word = kind == "h" ? " link to " : " -> "; arrow = index(name, word)
    if (kind == "l" || kind == "h") {{
        target = substr(name, arrow + length(word)); name = substr(name, 1, arrow - 1)
    }}
    depth = split(name, unused, "/") - 1 - (name ~ /^[.]\\//)
    bad = kind !~ /[-dlh]/ || name ~ /^\\// || leaves(name, 0) || index(target, word)
    if (kind == "l") bad = bad || target ~ /^\\// || leaves(target, depth)
    if (kind == "h") bad = bad || target ~ /^\\// || leaves(target, 0)
    if (bad) {{ print "the archive is refused: it holds " $0 | "cat >&2"; exit 1 }}
}}
END {{ print kib + 0 }}' "$PROVISION_TMP/members") || exit 1
free=$(df -Pk {folder} | awk 'END {{ print $4 }}')
if [ "$free" -lt "$need" ]; then
    echo 'no space in '{folder}": $((need * 128 / 125000)) MB are needed to unpack it,"\\
        "$((free * 128 / 125000)) MB are free" >&2
    exit 1
fi
mkdir -p "$s" || exit 1
"$2" -dc -- "$w" | tar -xf - --no-same-owner -C "$s" 2>"$PROVISION_TMP/why" || {{
    echo "the archive cannot be unpacked: $(head -n 1 "$PROVISION_TMP/why")" >&2
    exit 1
}}
# Names say where a link stands unless one before it moved that: look where they lead, before anything goes through one.
top=$(readlink -f "$s")
find "$s" -type l | while IFS= read -r l; do
    case $(readlink -m "$l") in "$top" | "$top"/*) ;; *) echo "${{l#"$s"/}}" && break ;; esac
done >"$PROVISION_TMP/out"
[ ! -s "$PROVISION_TMP/out" ] || {{
    echo "the archive is refused: it holds the link $(cat "$PROVISION_TMP/out"), which leads out of its tree" >&2
    exit 1
}}
have=$(sha256sum <"$w")
}}
unpack {waiting} {tool} || exit 1
[ -f "$s"/{binary} ] || {{ echo 'there is no '{binary}' in the archive' >&2; exit 1; }}
chmod 0755 "$s" "$s"/{binary} || exit 1
echo "${{have%% *}}" >"$s/{record}" || exit 1
{more}rm -rf {home} && mv "$s" {home} || exit 1
{relabelled}"""
