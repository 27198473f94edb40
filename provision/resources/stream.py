"""Long requests whose answer is a stream of NDJSON lines: pulls and creates of Ollama, pulls of Docker.

One script for all: it asks by curl, judges every line, tries again with growing pauses, and writes few lines. Lines of
progress that say nothing new are dropped: Ollama repeats its last line sixteen times a second while a download
stands still, and only silence tells the job that it has stalled.
"""

import json
from collections.abc import Mapping

from provision.dataclass import dataclass
from provision.models.progress import RETRY, StreamProgress
from provision.resources.base import Job
from provision.values import quote, sha256

OLLAMA_HOPELESS = (
    "file does not exist",
    "requires a newer version",
    "invalid model name",
    "insecure protocol",
    "unauthorized",
    "no space left",
    "MLX runtime",
    "disk quota",
    "invalid digest",
)
"""What another attempt cannot mend (ollama: server/images.go, server/download.go)."""

DOCKER_HOPELESS = (
    "manifest unknown",
    "not found",
    "denied",
    "unauthorized",
    "no space left",
    "no matching manifest",
    "HTTP response to HTTPS client",
    "invalid reference",
    "certificate",
)


@dataclass(frozen=True)
class Stream:
    """One such request.

    Args:
        what: for the reader: `gpt-oss:20b`.
        target: curl's arguments after the options, quoted: a URL, perhaps a socket.
        success: how the line begins that means success; empty when the end of the answer without an error does.
        body: sent as JSON.
        hopeless: parts of errors that another attempt cannot mend.
        attempts: at most; the pauses between them are `pause`, twice that, and so on, in seconds.
        stall: seconds without progress after which the attempt is ended and the request made again.
    """

    what: str
    target: str
    success: str = '{"status":"success"'
    body: Mapping[str, object] | None = None
    hopeless: tuple[str, ...] = OLLAMA_HOPELESS
    attempts: int = 5
    pause: int = 2
    stall: float = 60.0
    timeout: float = 12 * 3600.0

    def job(self, kind: str, then: str = "") -> Job:
        """The job; its name follows from what is asked for, so that a second run rejoins it.

        Args:
            kind: first part of the job's name: `model`, `image`.
            then: sh that runs after success.
        """
        return Job(
            name=f"{kind}-{sha256(self.what + self.target + json.dumps(self.body))[:12]}",
            script=self.script() + then,
            progress=StreamProgress(self.what),
            timeout=self.timeout,
            stall=self.stall,
            retries=self.attempts,
        )

    def script(self) -> str:
        """POSIX sh; its output is the lines, its status 0 only after success."""
        data = f"-H 'Content-Type: application/json' --data-binary {quote(json.dumps(self.body))}" if self.body else ""
        patterns = "|".join(f"*{quote(text)}*" for text in self.hopeless)
        return _SCRIPT.format(
            request=f"curl -sS -N --noproxy '*' --connect-timeout 10 -X POST {data} {self.target}",
            success=f"{quote(self.success)}*" if self.success else "'curl: exit status 0'",
            hopeless=patterns,
            attempts=self.attempts,
            pause=self.pause,
            again=RETRY,
        )


_SCRIPT = """\
exec 2>&1
attempt=1 pause={pause} beat=''
alive() {{ n=0; while [ $n -lt 270 ]; do sleep 20; n=$((n + 1)); echo '{{"status":"verifying sha256 digest"}}'; done; }}
calm() {{ [ -z "$beat" ] || {{ kill "$beat"; wait "$beat"; beat=''; }} 2>/dev/null; }}
judge() {{
    outcome=1 last='' why='the answer ended before the work was done'
    while IFS= read -r line || [ -n "$line" ]; do
        calm
        key=$line
        case $line in
        '') continue ;;
        *'"completed":'*) key=${{line#*'"completed":'}}; key=${{line%%'"completed":'*}}${{key%??????\\}}*}} ;;
        'curl: exit status '*) ;;
        'curl: '*) why=$line; continue ;;
        esac
        [ "$key" != "$last" ] || continue
        last=$key
        case $line in
        '{{"error":'* | '{{"errorDetail":'* | '{{"message":'*)
            why=$line outcome=1
            case $line in {hopeless}) outcome=2 ;; esac
            continue ;;
        {success}) [ "$outcome" = 2 ] || [ "${{why#\\{{}}" != "$why" ] || outcome=0 ;;
        esac
        case $line in 'curl: exit status '*) continue ;; esac
        printf '%s\\n' "$line"
        case $line in *'"verifying sha256 digest"'*) alive & beat=$! ;; esac
    done
    calm
    [ "$outcome" != 0 ] || return 0
    if [ "$outcome" = 2 ] || [ "$attempt" -ge {attempts} ]; then
        case $why in '{{'*) ;; *) why="{{\\"error\\":\\"$(printf '%s' "$why" | tr -d '\\\\"')\\"}}" ;; esac
        printf '%s\\n' "$why"
        return 2
    fi
    printf '{again}attempt %s of {attempts} in %s s: %s\\n' "$((attempt + 1))" "$pause" "$why"
    return 1
}}
while :; do
    {{ {request} 2>&1; printf '\\ncurl: exit status %s\\n' "$?"; }} | judge
    case $? in 0) break ;; 2) exit 1 ;; esac
    sleep "$pause"
    attempt=$((attempt + 1)) pause=$((pause * 2))
done
"""
