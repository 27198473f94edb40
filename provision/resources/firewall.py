"""Who may reach a TCP port: a table of our own in nftables that only drops, beside whatever firewall is there.

`table inet provision` hooks in before address translation, so that ports which Docker publishes count too, and it never
accepts: a packet that passes it still has to pass ufw, firewalld or whatever else stands there.
"""

from collections.abc import Iterator
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Change, Diff, Pending, Run, Section, Step
from provision.resources.file import File
from provision.resources.look import Found, Look, seen
from provision.values import quote, sha256

_UNIT = """\
[Unit]
Description=Who may reach the ports that provision guards
Before=network-pre.target docker.service ollama.service
Wants=network-pre.target
DefaultDependencies=no
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {rules}
ExecStop=-/usr/sbin/nft delete table inet {table}

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Guarded:
    """A TCP port and the addresses (IPv4 or IPv6, with prefix length if they are networks) that may reach it.

    The host itself always may, and so may its containers on Docker's default bridge.
    """

    port: int
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """What is there: the rules file, the unit file, whether the kernel has exactly these rules."""

    rules: Found
    unit: Found
    loaded: bool
    enabled: bool


@dataclass(frozen=True)
class Firewall:
    """`table inet provision`, loaded now and at every boot; without ports it is gone.

    Args:
        ports: what is guarded.
        part: a role that has a table of its own, `table inet provision_PART`.
    """

    ports: tuple[Guarded, ...] = field(default=())
    part: str = ""

    @property
    def id(self) -> str:
        """`firewall:provision`, `firewall:provision-PART`."""
        return f"firewall:{self._name('provision')}"

    def _name(self, stem: str) -> str:
        return f"{stem}-{self.part}" if self.part else stem

    @property
    def table(self) -> str:
        """Its name in the kernel."""
        return self._name("provision").replace("-", "_")

    @property
    def path(self) -> str:
        """The file of the rules."""
        return f"/etc/provision/{self._name('firewall')}.nft"

    @property
    def service(self) -> str:
        """The unit that loads them."""
        return f"{self._name('provision-firewall')}.service"

    @property
    def unit(self) -> File:
        """That unit's file."""
        text = _UNIT.format(rules=self.path, table=self.table)
        return File(f"/etc/systemd/system/{self.service}", text)

    @property
    def rules(self) -> str:
        """The file for `nft -f`: it replaces the table in one transaction."""
        lines = [line for guarded in self.ports for line in _chain_lines(guarded)]
        body = "".join(f"        {line}\n" for line in lines)
        # The empty chain's name tells which rules the kernel has.
        mark = f"rules_{sha256(body)[:12]}"
        return (
            f"table inet {self.table}\ndelete table inet {self.table}\ntable inet {self.table} {{\n"
            f"    chain {mark} {{\n    }}\n"
            "    chain guard {\n        type filter hook prerouting priority -310; policy accept;\n"
            f'        iifname {{ "lo", "docker0" }} accept\n{body}    }}\n}}\n'
        )

    @property
    def mark(self) -> str:
        """The name of the empty chain."""
        return self.rules.partition("    chain ")[2].partition(" ")[0]

    def probe(self) -> str:
        """Both files; the kernel's table and the unit where there are to be rules."""
        files = ("echo --", self.unit.probe(), "echo; echo --", File(self.path, self.rules).probe())
        if not self.ports:
            return Look.among(*files)
        # What `systemctl enable` makes of the unit, which is looked at as well; asking systemctl costs a process.
        wanted = f"/etc/systemd/system/sysinit.target.wants/{self.service}"
        return Look.among(
            f"nft list chain inet {self.table} {self.mark} >/dev/null 2>&1 && echo loaded",
            f"[ -L {wanted} ] && [ -f {wanted} ] && echo enabled",
            *files,
        )

    def observe(self, section: Section) -> Loaded:
        """What is there.

        Raises:
            ValueError: the answer cannot be understood.
        """
        head, unit, rules = section.out.split(b"--\n", 2)
        return Loaded(
            seen(Section(0, rules)), seen(Section(0, unit.removesuffix(b"\n"))), b"loaded" in head, b"enabled" in head
        )

    def plan(self, observed: Loaded, pending: Pending) -> Change | None:
        """`create` or `update`, `load`; `remove` where nothing is to be guarded."""
        if not self.ports:
            there = (observed.rules.kind, observed.unit.kind) != ("missing", "missing")
            return Change(self.id, "remove", "every address may reach it") if there else None
        files = [change for file, found in self._files(observed) if (change := file.plan(found, pending))]
        after = {"ports": {str(guarded.port): list(guarded.sources) for guarded in self.ports}}
        if files:
            action = "create" if observed.rules.kind == "missing" else "update"
            diffs: tuple[Diff, ...] = tuple(diff for change in files for diff in change.diffs)
            return Change(self.id, action, files[-1].why, after=after, diffs=diffs)
        if observed.loaded and observed.enabled:
            return None
        return Change(self.id, "load", "the kernel does not have these rules", after=after)

    def _files(self, observed: Loaded) -> tuple[tuple[File, Found], ...]:
        return (self.unit, observed.unit), (File(self.path, self.rules), observed.rules)

    def steps(self, change: Change) -> Iterator[Step]:
        """Both files, checked, then loaded."""
        if change.action == "remove":
            yield Run(
                f"[ ! -e {quote(self.unit.path)} ] || systemctl --quiet disable --now {self.service} || exit 1\n"
                f"rm -f {quote(self.path)} {quote(self.unit.path)} && systemctl daemon-reload\n"
            )
            return
        checked = self.path + ".checked"
        yield from File(checked, self.rules).steps(change)
        yield Run(f"nft -c -f {quote(checked)} || exit 1\nmv -f {quote(checked)} {quote(self.path)}\n")
        yield from self.unit.steps(change)
        yield Run(
            f"systemctl daemon-reload && systemctl --quiet enable {self.service} && systemctl restart {self.service}\n"
        )


def _chain_lines(guarded: Guarded) -> Iterator[str]:
    for family, ours in (("ip", [s for s in guarded.sources if ":" not in s]),
                         ("ip6", [s for s in guarded.sources if ":" in s])):  # fmt: skip
        if ours:
            yield f"tcp dport {guarded.port} {family} saddr {{ {', '.join(sorted(ours))} }} accept"
    yield f"tcp dport {guarded.port} drop"
