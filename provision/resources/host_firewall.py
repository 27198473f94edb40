"""What a firewall that an administrator runs lets in to a port of ours: ufw's and firewalld's own rules, exactly ours.

Where neither is active there is nothing to do; where one is, our rules are told from the administrator's by their name,
and only ours are ever taken away. An own `table inet provision` cannot do this: a packet has to pass every table.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import field

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Run, Section, Step
from provision.resources.file import Absent, File
from provision.resources.look import Found, Look, seen
from provision.values import printable, quote, sha256

DOCKER0 = "docker0"
# A running unit has a control group; asking systemctl would cost every host a process.
FIREWALLD = (
    "[ -d /sys/fs/cgroup/system.slice/firewalld.service ] || "
    "[ -d /sys/fs/cgroup/systemd/system.slice/firewalld.service ]"
)
"""A condition of sh: firewalld runs."""
_ANY = {4: "0.0.0.0/0", 6: "::/0"}
_POLICY_CALL = "org.fedoraproject.FirewallD1 /org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.policy"


@dataclass(frozen=True)
class Allow:
    """A TCP port and who is let in.

    Args:
        port: of the host.
        sources: addresses and networks; None: everybody.
        interface: only packets that come in there; "" for any.
    """

    port: int
    sources: tuple[str, ...] | None = None
    interface: str = ""


@dataclass(frozen=True, order=True)
class Rule:
    """One line of ufw: `source` as ufw writes it (`10.1.0.0/16`, `192.0.2.7`, `::/0`)."""

    port: int
    source: str
    interface: str = ""

    @property
    def words(self) -> str:
        """What `ufw allow` takes."""
        where = f"in on {quote(self.interface)} " if self.interface else ""
        start = "" if self.source in _ANY.values() else f"from {self.source} "
        return f"{where}{start}to any port {self.port} proto tcp"


@dataclass(frozen=True)
class Seen:
    """The active firewall (`ufw`, `firewalld`, ""), ufw's rules that are ours and all, firewalld's policy file.

    `ipv6` is False where ufw leaves IPv6 alone; `loaded` says that firewalld runs with exactly our policy.
    """

    active: str
    ours: frozenset[Rule] = frozenset()
    all: frozenset[Rule] = frozenset()
    ipv6: bool = True
    policy: Found = field(default_factory=lambda: Found("missing"))
    loaded: bool = False


@dataclass(frozen=True)
class HostFirewall:
    """ufw or firewalld, where one of them is active, lets these in.

    ufw gets rules with the comment `provision PART`, after those that are there: an administrator's `deny` still
    counts. firewalld gets a policy `provision-PART` before its zones, and is reloaded.

    Args:
        part: whose rules: the role's name.
        allowed: all that it needs; rules of ours that are none of these are taken away.
    """

    part: str
    allowed: tuple[Allow, ...] = ()

    @property
    def id(self) -> str:
        """`host-firewall:PART`."""
        return f"host-firewall:{self.part}"

    @property
    def path(self) -> str:
        """The policy of firewalld."""
        return f"/etc/firewalld/policies/provision-{self.part}.xml"

    @property
    def comment(self) -> str:
        """By which ufw's rules are known as ours."""
        return f"provision {self.part}"

    def probe(self) -> str:
        """Which one is active, and its rules, read from files: asking ufw or firewall-cmd takes Python's start."""
        head = _PROBE.format(
            policy=quote(f"provision-{self.part}"), mark=quote(self.mark), call=_POLICY_CALL, firewalld=FIREWALLD
        )
        return Look.among(head, Look(self.path, content=True))

    def observe(self, section: Section) -> Seen:
        """What is there.

        Raises:
            ValueError: the answer cannot be understood.
        """
        head, separator, rest = section.out.partition(b"--\n")
        if not separator:
            raise ValueError("which firewall is active is not known")
        lines = head.decode("utf-8", "replace").splitlines()
        found = dict(filter(None, (_rule(line) for line in lines)))
        ours = frozenset(rule for rule, comment in found.items() if comment == self.comment)
        active = next((name for name in ("ufw", "firewalld") if f"active={name}" in lines), "")
        return Seen(active, ours, frozenset(found), "ipv6=no" not in lines, seen(Section(0, rest)), "loaded" in lines)

    def plan(self, observed: Seen, pending: Pending) -> Change | None:
        """`update` what ufw or firewalld has of ours."""
        if observed.active == "ufw":
            return self._plan_ufw(observed)
        if observed.active == "firewalld":
            return self._plan_firewalld(observed, pending)
        return None

    def remark(self, observed: Seen) -> str:
        """Names cannot be let in."""
        names = {source for one in self.allowed for source in one.sources or () if _network(source) is None}
        if not names or not observed.active:
            return ""
        told = printable(", ".join(sorted(names)), 200)
        return f"{self.id}: {observed.active} takes addresses, not names: {told}; set `address` of these hosts"

    def _plan_ufw(self, observed: Seen) -> Change | None:
        wanted = frozenset(
            rule for one in self.allowed for rule in _rules(one) if observed.ipv6 or ":" not in rule.source
        )
        missing, extra = sorted(wanted - observed.all), sorted(observed.ours - wanted)
        if not missing and not extra:
            return None
        reasons = [f"ufw does not let in {_told(missing)}"] if missing else []
        if extra:
            reasons.append(f"ufw lets in {_told(extra)}, which is no longer declared")
        before = {"rules": sorted({rule.words for rule in extra})}
        after = {"rules": sorted({rule.words for rule in missing})}
        return Change(self.id, "update", "; ".join(reasons), before, after, private=("ufw", None))

    def _plan_firewalld(self, observed: Seen, pending: Pending) -> Change | None:
        file = self._policy_file()
        change = file.plan(observed.policy, pending)
        if change is None and (observed.loaded or isinstance(file, Absent)):
            return None
        why = change.why if change else "firewalld runs without this policy"
        why += "; firewalld is reloaded, which forgets what was set without --permanent"
        after = {"ports": {str(one.port): list(one.sources or ("everybody",)) for one in self._of_firewalld()}}
        diffs = change.diffs if change else ()
        return Change(self.id, "update", why, after=after, diffs=diffs, private=("firewalld", change))

    def steps(self, change: Change) -> Iterator[Step]:
        """ufw: by its command. firewalld: the policy's file, then a reload: a policy is never made at runtime."""
        if change.private[0] == "ufw":
            lines = [f"ufw --force delete allow {rule} >/dev/null || exit 1\n" for rule in change.before["rules"]]
            comment = quote(self.comment)
            lines += [f"ufw allow {rule} comment {comment} >/dev/null || exit 1\n" for rule in change.after["rules"]]
            yield Run("export LC_ALL=C\n" + "".join(lines))
            return
        if change.private[1] is not None:
            yield from self._policy_file().steps(change.private[1])
        yield Run("firewall-cmd --quiet --reload\n")

    def _of_firewalld(self) -> tuple[Allow, ...]:
        """Docker's bridge has a zone that accepts everything (`DockerZone`), so its packets need no rule."""
        return tuple(one for one in self.allowed if one.interface != DOCKER0)

    @property
    def mark(self) -> str:
        """The policy's description: tells which rules firewalld runs with."""
        return f"rules {sha256(''.join(_elements(self._of_firewalld())))[:12]}"

    def _policy_file(self) -> File | Absent:
        elements = list(_elements(self._of_firewalld()))
        if not elements:
            return Absent(self.path, "nothing is let in")
        return File(self.path, _POLICY.format(part=self.part, mark=self.mark, rules="".join(elements)))


def _elements(allowed: tuple[Allow, ...]) -> Iterator[str]:
    for one in allowed:
        port = f'<port port="{one.port}" protocol="tcp"/>'
        if one.sources is None:
            yield f"  {port}\n"
        for source in sorted(one.sources or ()):
            if network := _network(source):
                where = f'<source address="{network}"/>'
                yield f'  <rule family="ipv{network.version}">{where}{port}<accept/></rule>\n'


def _rules(one: Allow) -> Iterator[Rule]:
    if one.sources is None:
        yield from (Rule(one.port, source, one.interface) for source in _ANY.values())
    for source in one.sources or ():
        network = _network(source)
        if network is None:
            continue
        single = network.prefixlen == network.max_prefixlen
        yield Rule(one.port, str(network.network_address if single else network), one.interface)


def _network(source: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(source, strict=False)
    except ValueError:
        return None


def _rule(line: str) -> tuple[Rule, str] | None:
    """A line of user.rules: `### tuple ### allow tcp 11434 0.0.0.0/0 any 10.1.0.0/16 in_docker0 comment=HEX`."""
    words = line.removeprefix("### tuple ### ").split()
    if len(words) < 7 or words[:2] != ["allow", "tcp"] or words[3] not in _ANY.values() or words[4] != "any":
        return None
    direction, _, interface = words[6].partition("_")
    if direction != "in" or not words[2].isdigit():
        return None
    encoded = next((word.removeprefix("comment=") for word in words[7:] if word.startswith("comment=")), "")
    try:
        comment = bytes.fromhex(encoded).decode("utf-8", "replace")
    except ValueError:
        comment = ""
    return Rule(int(words[2]), words[5], interface), comment


def _told(rules: list[Rule]) -> str:
    """`11434 from docker0`, each once."""
    texts = (
        f"{rule.port} from {rule.interface or ('everybody' if rule.source in _ANY.values() else rule.source)}"
        for rule in rules
    )
    return ", ".join(dict.fromkeys(texts))


_POLICY = """\
<?xml version="1.0" encoding="utf-8"?>
<policy priority="-1" target="CONTINUE">
  <short>provision {part}</short>
  <description>{mark}</description>
  <ingress-zone name="ANY"/>
  <egress-zone name="HOST"/>
{rules}</policy>
"""

_PROBE = """\
if [ -f /etc/ufw/ufw.conf ] && grep -q '^ENABLED=yes' /etc/ufw/ufw.conf && command -v ufw >/dev/null; then
    echo active=ufw
    grep -qs '^IPV6=yes' /etc/default/ufw || echo ipv6=no
    sed -n '/^### tuple ### /p' /etc/ufw/user.rules /etc/ufw/user6.rules 2>/dev/null
fi
if {firewalld}; then
    echo active=firewalld
    case $(timeout 10 busctl call {call} getPolicySettings s {policy} 2>/dev/null) in
    *{mark}*) echo loaded ;;
    esac
fi
echo --
"""
