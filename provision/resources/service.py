"""A systemd service: enabled, running, and running with what is declared now.

Restarts follow state, not events: a service that runs with an older specification (PROVISION_SPEC in the environment of
its process) or that is older than its files is restarted, whoever changed them and whenever. A change that a reload is
enough for is taken over by one, if the process had taken over everything before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.values import printable, quote

SPEC = "PROVISION_SPEC"
"""Name of the variable that a unit of ours carries: a hash of all that the process depends on."""

RELOADED = "/run/provision/reloaded"
"""A directory with a file for each unit that we reloaded: its time is that of the reload."""

_PROPERTIES = "LoadState ActiveState SubState UnitFileState NeedDaemonReload MainPID Result Type NRestarts"


@dataclass(frozen=True)
class Running:
    """What systemd and /proc say.

    `spec` is PROVISION_SPEC of the process, `started` its start or its last reload by us in s since the epoch (0: no
    process), `newest` the latest modification of the files, in s, with `newest_file`.
    """

    properties: Mapping[str, str]
    spec: str = ""
    started: float = 0.0
    newest: float = 0.0
    newest_file: str = ""
    log: str = ""

    def __getitem__(self, name: str) -> str:
        return self.properties.get(name, "")

    @property
    def active(self) -> bool:
        """Running; for a one-shot that remains: it ran."""
        return self["ActiveState"] in ("active", "reloading")

    @property
    def crashing(self) -> bool:
        """It ends again and again, and systemd is about to start it once more."""
        return self["SubState"] == "auto-restart"


@dataclass(frozen=True)
class Service:
    """A unit's state.

    Args:
        name: `ollama` for `ollama.service`, or with its suffix.
        enabled: starts at boot; None: left as it is.
        running: runs now; None: left as it is.
        restart_on: resources whose change means that it must start anew.
        spec: the value of PROVISION_SPEC in the environment of the process.
        files: paths; a process that is older than one of them is restarted, and so is one whose file this plan changes.
            For units that are not ours, and for files whose content may be in no hash that others can read.
        before_restart: a fragment that prepares the restart of a running one, which is left alone when that fails.
        on_reload: a fragment that reloads it, in place of `systemctl reload`.
        on_failure: a fragment that undoes what made the start fail; it is started once more after that.
        timeout: seconds that a start may take.
        part: tells a second statement about the same unit from the first.
    """

    name: str
    enabled: bool | None = True
    running: bool | None = True
    restart_on: tuple[Resource, ...] = field(default=(), repr=False)
    spec: str = ""
    files: tuple[str, ...] = ()
    before_restart: str = field(default="", repr=False)
    on_reload: str = field(default="", repr=False)
    on_failure: str = field(default="", repr=False)
    timeout: float = 120.0
    part: str = ""

    @property
    def id(self) -> str:
        """`service:NAME`, `service:NAME/PART`."""
        return f"service:{self.name}/{self.part}" if self.part else f"service:{self.name}"

    @property
    def unit(self) -> str:
        """The unit's whole name."""
        return self.name if "." in self.name else f"{self.name}.service"

    def probe(self) -> str:
        """`systemctl show`, the process's specification and start, the files' times, the end of a failure's log."""
        paths = " ".join(quote(path) for path in self.files)
        # Those that are not there are only complained about.
        files = f"stat -c 'file=%Y %n' -- {paths} 2>/dev/null\n" if paths else ""
        properties = _PROPERTIES.replace(" ", ",")
        return _PROBE.format(unit=quote(self.unit), properties=properties, files=files, reloaded=RELOADED)

    def observe(self, section: Section) -> Running:
        """What is there.

        Raises:
            ValueError: systemd did not answer.
        """
        lines = dict(line.partition("=")[::2] for line in section.lines if "=" in line)
        if "ActiveState" not in lines:
            raise ValueError(f"systemctl gave no answer: {section.err.decode('utf-8', 'replace').strip()[-200:]}")
        logs = [line.partition("=")[2] for line in section.lines if line.startswith("log=")]
        files = [line.partition("=")[2].partition(" ") for line in section.lines if line.startswith("file=")]
        newest = max(((float(when), path) for when, _, path in files if when.isdigit()), default=(0.0, ""))
        started, reloaded = _started(lines), lines.get("reloaded", "")
        if started and reloaded.isdigit():
            started = max(started, float(reloaded))
        return Running(lines, lines.get("spec", ""), started, newest[0], newest[1], " | ".join(logs))

    def plan(self, observed: Running, pending: Pending) -> Change | None:
        """One of `start`, `restart`, `reload`, `stop`, `enable`, `disable`."""
        before = {"active": observed["ActiveState"], "enabled": observed["UnitFileState"]}
        after: dict[str, Any] = {} if self.running is None else {"active": "active" if self.running else "inactive"}
        reasons = self._reasons(observed, pending)
        wrong_boot = self.enabled is not None and observed["UnitFileState"] != (
            "enabled" if self.enabled else "disabled"
        )
        if wrong_boot and observed["UnitFileState"] in ("static", "indirect", "generated", "alias"):
            wrong_boot = False
        if wrong_boot:
            after["enabled"] = "enabled" if self.enabled else "disabled"
        if self.running is False and (observed.active or observed.crashing):
            return Change(self.id, "stop", "runs", before, after)
        first = pending.any(f"service:{self.name}") if self.part else None
        if self.running and not observed.active and first is None:
            log = f": {printable(observed.log, 200)}" if observed.log else ""
            state = "fails again and again" if observed.crashing else observed["ActiveState"] or "not there"
            return Change(self.id, "start", f"{state}{log}", before, after)
        if self.running and reasons:
            return Change(self.id, "restart", reasons[0], before, after)
        if self.running and (earlier := next(self._earlier(pending), None)):
            return Change(self.id, "reload", f"{earlier.resource} changes", before, after)
        if wrong_boot:
            return Change(self.id, "enable" if self.enabled else "disable", "at boot", before, after)
        return None

    def _earlier(self, pending: Pending) -> Iterator[Change]:
        causes: tuple[Resource | str, ...] = (*self.restart_on, *(f"file:{path}" for path in self.files))
        return (change for cause in causes if (change := pending.any(cause)))

    def _reasons(self, observed: Running, pending: Pending) -> list[str]:
        reasons = []
        if earlier := next((change for change in self._earlier(pending) if not change.reload), None):
            reasons.append(f"{earlier.resource} changes")
        if self.spec and observed.spec != self.spec:
            reasons.append("it runs with older settings")
        if self.files and observed.started and observed.newest > observed.started + 1:
            reasons.append(f"it started before {observed.newest_file} was changed")
        if observed["NeedDaemonReload"] == "yes":
            reasons.append("its unit was changed")
        return reasons

    def steps(self, change: Change) -> Iterator[Step]:
        """One script; a start counts when the service is still the same process a moment later."""
        unit = quote(self.unit)
        boot = "" if self.enabled is None else f"systemctl --quiet {'enable' if self.enabled else 'disable'} {unit}"
        if change.action == "stop":
            yield Run(f"systemctl stop {unit} || exit 1\n{boot}\n", timeout=self.timeout)
        elif change.action in ("enable", "disable"):
            yield Run(f"{boot}\n", timeout=self.timeout)
        elif change.action == "reload":
            reload = self.on_reload or f"systemctl reload {unit} || exit 1\n"
            mark = f"{RELOADED}/{self.unit}"
            done = f"{boot or ':'} || exit 1\nmkdir -p {RELOADED} && touch {quote(mark)}\n"
            yield Run(_guarded(reload, self.on_failure) + done, timeout=self.timeout)
        else:
            again = f"{self.on_failure}\nup >/dev/null 2>&1" if self.on_failure else ":"
            before = self.before_restart if change.action == "restart" else ""
            start = _START.format(unit=unit, boot=boot or ":", again=again)
            yield Run((_guarded(before, self.on_failure) if before else "") + start, timeout=self.timeout)


def _guarded(fragment: str, undo: str) -> str:
    """The fragment; when it ends with another status than 0, `undo` and the end of the script."""
    return f"(\n{fragment.rstrip()}\n) || {{\n{undo.rstrip() or ':'}\nexit 1\n}}\n"


_PROBE = """\
u={unit}
s=$(systemctl show -p {properties} -- "$u") || exit 1
printf '%s\\n' "$s"
p=${{s##*MainPID=}}
p=${{p%%[!0-9]*}}
if [ "${{p:-0}}" -gt 0 ] 2>/dev/null && [ -r "/proc/$p/environ" ]; then
    tr '\\0' '\\n' <"/proc/$p/environ" | sed -n 's/^PROVISION_SPEC=/spec=/p'
    sed -n 's/^.*) /stat=/p; s/^btime /btime=/p' "/proc/$p/stat" /proc/stat
    [ ! -e {reloaded}/"$u" ] || stat -c 'reloaded=%Y' {reloaded}/"$u"
fi
{files}case $s in
*ActiveState=failed* | *ActiveState=activating*)
    journalctl -q -n 3 --no-pager -o cat -u "$u" 2>/dev/null | sed 's/^/log=/'
    ;;
esac
:
"""

# reset-failed: the start limit counts the starts of an earlier, broken state too.
_START = """\
systemctl daemon-reload || exit 1
{boot} || exit 1
up() {{
    systemctl reset-failed {unit} 2>/dev/null
    systemctl restart {unit} || return 1
    was=$(systemctl show --value -p MainPID,NRestarts -- {unit})
    n=0
    while [ $n -lt 3 ]; do
        sleep 0.5
        n=$((n + 1))
        [ "$(systemctl is-active -- {unit})" = active ] || return 1
    done
    [ "$(systemctl show --value -p MainPID,NRestarts -- {unit})" = "$was" ]
}}
up && exit 0
log=$(journalctl -q -n 4 --no-pager -o cat -u {unit} 2>/dev/null | tr '\\n' '|')
echo "{unit} does not stay up: $log" >"$PROVISION_TMP/why"
{again}
cat "$PROVISION_TMP/why" >&2
exit 1
"""


_TICKS = 100
"""A second, in what the kernel tells (USER_HZ): the same on amd64 and arm64, whatever it counts in itself."""


def _started(lines: Mapping[str, str]) -> float:
    """When the process started, from fields of /proc/PID/stat (proc(5): starttime is the 22nd) and the boot time."""
    fields = lines.get("stat", "").split()
    if len(fields) < 20 or not lines.get("btime", "").isdigit():
        return 0.0
    return int(lines["btime"]) + int(fields[19]) / _TICKS
