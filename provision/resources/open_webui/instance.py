"""One Open WebUI: where it is, the one question about its database that all resources share, and its actions."""

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from provision.dataclass import dataclass
from provision.resources.base import Run, Section
from provision.values import canonical, printable, quote, sha256

DATA = "/app/backend/data"
"""Where the volume is mounted: the image's DATA_DIR."""
DATABASE = f"{DATA}/webui.db"
MOUNT = "/run/provision"
"""Where the host's folder of secrets and start scripts is mounted, read-only."""
PROVEN = "/var/tmp/provision-proven"
"""In the container, which it lives and dies with: the backends that gave it their model list, as JSON."""

_INSIDE = Path(__file__).parent / "inside"


@dataclass(frozen=True)
class Account:
    """The declared admin account. `proven`: the declared password was its password at the last sign-in."""

    role: str
    active: bool
    proven: bool


@dataclass(frozen=True)
class Stored:
    """What the database holds. When it could not be read, `complaint` says why and the rest is empty.

    `values` and `hashes` (of canonical JSON) are by key, of those asked for and there. `group` is the id of the group
    that may use the models, `granted` the models it may read. `proven` are the backends that gave their model list to
    this container.
    """

    complaint: str = ""
    users: int = 0
    admin: Account | None = None
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    group: str | None = None
    granted: frozenset[str] = frozenset()
    proven: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Instance:
    """One container of Open WebUI.

    Args:
        container: its name.
        url: where the server listens, as seen in the container.
        home: folder of the host with secrets and start scripts.
        email: of the admin, in lower case.
        name: of the admin.
        keys: stored settings whose values are wanted; `hashed` those whose values are secret.
        group: the group that may use the models, or "".
    """

    container: str
    url: str
    home: str
    email: str
    name: str = "Admin"
    keys: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    group: str = ""

    @property
    def _common(self) -> dict[str, Any]:
        return {"database": DATABASE, "secrets": MOUNT, "proven": PROVEN, "email": self.email}

    def probe(self) -> str:
        """Asks the database once a run; the other resources of the same instance read the same answer."""
        question = canonical({**self._common, "keys": self.keys, "hashed": self.hashed, "group": self.group})
        code = (_INSIDE / "stored.py").read_text()
        answer = f"open-webui-{sha256(self.container + question)[:12]}"
        return _ASK.format(
            answer=answer,
            # -S -E: neither site-packages nor the environment, which halves the start of the interpreter.
            command=f"docker exec {quote(self.container)} python3 -S -E -c {quote(code)} {quote(question)}",
        )

    def observe(self, section: Section) -> Stored:
        """The answer. A container that is not there or does not answer is no error: its state is unknown."""
        if section.rc:
            complaint = section.err.decode("utf-8", "replace").strip().rpartition("\n")[2]
            return Stored(complaint=printable(complaint, 200) or f"exit status {section.rc}")
        return parse(section.text)

    def act(
        self, action: str, question: Mapping[str, Any] | None = None, *, values: str = "", timeout: float = 300
    ) -> str:
        """The command that runs an action in the container. `values` names the variable with the JSON for its stdin."""
        code = (_INSIDE / "actions.py").read_text()
        asked = canonical({**self._common, "url": self.url, "name": self.name, **(question or {})})
        stdin = f"printf '%s' \"${values}\" | " if values else ""
        interactive = "-i " if values else ""
        return (
            f"{stdin}docker exec {interactive}{quote(self.container)} timeout {int(timeout)}"
            f" python3 -c {quote(code)} {quote(action)} {quote(asked)}"
        )

    def run(self, action: str, question: Mapping[str, Any] | None = None, *, timeout: float = 300) -> Run:
        """An action without secret values, as a step."""
        return Run(self.act(action, question, timeout=timeout) + "\n", timeout=timeout + 30)


_ASK = """\
answer=${{PROVISION_TMP:+$PROVISION_TMP/{answer}}}
if [ -n "$answer" ] && [ -s "$answer" ]; then cat "$answer"; exit 0; fi
out=$({command}) || exit
[ -z "$answer" ] || printf '%s\\n' "$out" >"$answer"
printf '%s\\n' "$out"
"""


def parse(text: str) -> Stored:
    """The JSON that `inside/stored.py` prints.

    Raises:
        ValueError: it is something else.
    """
    try:
        answer = json.loads(text)
        admin = answer["admin"]
        return Stored(
            users=int(answer["users"]),
            admin=Account(str(admin["role"]), bool(admin["active"]), bool(admin["proven"])) if admin else None,
            values=dict(answer["values"]),
            hashes={str(key): str(value) for key, value in answer["hashes"].items()},
            group=answer["group"],
            granted=frozenset(map(str, answer["granted"])),
            proven=frozenset(map(str, answer["proven"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what the database's reader prints: {error!r}") from error
