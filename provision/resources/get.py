"""What servers on the host itself answer over HTTP: all probes of a host that ask them start one curl."""

from collections.abc import Iterable, Sequence
from typing import Self

from provision.resources.base import Together
from provision.values import quote, sha256


class Get(Together):
    """A probe: asks these addresses, then runs a fragment that prints of the answers what is wanted.

    There, `got URL` leaves the status in $code, `000` for no answer; the body in the file $body, or in $body.err why
    there is none.

    Args:
        urls: each is asked once, whoever wants it.
        then: the fragment.
        tools: functions for it, defined once where several have the same.
    """

    _urls: tuple[str, ...]
    _then: str
    _tools: str

    def __new__(cls, urls: Iterable[str], then: str, tools: str = "") -> Self:
        """The fragment that works alone."""
        urls = tuple(urls)
        made = super().__new__(cls, _ask(urls) + tools + then)
        made._urls, made._then, made._tools = urls, then, tools
        return made

    @classmethod
    def prepare(cls, asked: Sequence[Together]) -> str:
        """One curl for all addresses."""
        ours = [one for one in asked if isinstance(one, Get)]
        urls = dict.fromkeys(url for one in ours for url in one._urls)
        return _ask(urls) + "".join(dict.fromkeys(one._tools for one in ours))

    def shared(self) -> str:
        """The fragment."""
        return self._then


def _ask(urls: Iterable[str]) -> str:
    words = [quote(url) for url in urls]
    # Others may have asked for other addresses in the same directory.
    name = f"get-{sha256(' '.join(words))[:12]}-"
    outputs = " ".join(f'-o "$t/{name}{number}" {word}' for number, word in enumerate(words))
    return _GET.format(outputs=outputs, urls=" ".join(words), name=name)


# Where one of them does not answer, each is asked by itself, once: the others' answers are no worse for it.
_GET = """\
t=${{PROVISION_TMP:-}}
if [ ! -d "$t" ]; then t=$(mktemp -d) && trap 'rm -rf "$t"' EXIT; fi
get() {{
    curl -sS -g --noproxy '*' --max-time 5 --max-filesize 1048576 -w '%{{http_code}} ' "$@"
}}
codes=$(get --fail-early {outputs} 2>/dev/null) || codes=
got() {{
    code=$codes n=0
    # shellcheck disable=SC2043 # it may be one
    for url in {urls}; do
        if [ "$url" = "$1" ]; then break; fi
        code=${{code#* }} n=$((n + 1))
    done
    code=${{code%% *}} body=$t/{name}$n
    if [ -n "$code" ]; then return; fi
    if [ ! -e "$body.code" ]; then
        code=$(get -o "$body" "$1" 2>"$body.err") || code=000
        echo "${{code% }}" >"$body.code"
    fi
    read -r code <"$body.code"
}}
"""
