"""SELinux: booleans of its policy, and the labels that it wants at a path."""

from collections.abc import Iterator

from provision.dataclass import dataclass
from provision.resources.base import Change, Pending, Resource, Run, Section, Step
from provision.values import quote


def relabelled(path: str) -> str:
    """A fragment: `path`, a word of a script, and all below it get the labels that the policy has for their places.

    What was moved there has the labels of where it came from. Where SELinux is off nothing happens; a file system
    without labels (NFS) is no failure.
    """
    return f"! command -v restorecon >/dev/null || restorecon -R {path} 2>/dev/null || :\n"


@dataclass(frozen=True)
class SelinuxBoolean:
    """The boolean has this value where SELinux is there, enforcing or not.

    The kernel's value is compared; `setsebool -P` sets it and the stored one together.

    Args:
        name: `container_use_devices`.
        value: what it is to be.
        package: brings the boolean, for the message when the policy does not know it.
        after: resources (a package, its service) that may bring it.
    """

    name: str
    value: bool = True
    package: str = ""
    after: tuple[Resource | str, ...] = ()

    @property
    def id(self) -> str:
        """`selinux-boolean:NAME`."""
        return f"selinux-boolean:{self.name}"

    def probe(self) -> str:
        """`on` or `off` as getsebool says it; `unknown` to the policy; nothing without SELinux."""
        return (
            "[ -e /sys/fs/selinux/enforce ] || exit 0\n"
            f"b=/sys/fs/selinux/booleans/{quote(self.name)}\n"
            '[ -e "$b" ] || { echo unknown; exit 0; }\n'
            'case $(cat "$b") in 1*) echo on ;; *) echo off ;; esac\n'
        )

    def observe(self, section: Section) -> str:
        """That word, or ""."""
        return section.text.strip()

    def plan(self, observed: str, pending: Pending) -> Change | None:
        """`set` it.

        Raises:
            ValueError: the policy does not know it.
        """
        wanted = "on" if self.value else "off"
        if observed in ("", wanted):
            return None
        if observed == "unknown" and pending.any(*self.after) is None:
            way = f"; install {self.package}" if self.package else ""
            raise ValueError(f"SELinux's policy does not know the boolean {self.name}{way}")
        return Change(self.id, "set", f"{observed} -> {wanted}", {"value": observed}, {"value": wanted},
                      uncertain=observed == "unknown")  # fmt: skip

    def steps(self, change: Change) -> Iterator[Step]:
        """One script; the policy is stored anew, which may take half a minute."""
        yield Run(f"setsebool -P {quote(self.name)} {'on' if self.value else 'off'}\n", timeout=300)


@dataclass(frozen=True)
class SelinuxLabel:
    """What is at this path has this type, so that containers may use it: what `docker run -v PATH:...:z` does.

    (The SDK cannot say `z`: it takes the mode for a part of the place, and makes a volume there. docker-py:
    models/containers.py, _host_volume_from_bind.) Looked at are the path and what lies right below it.

    Args:
        path: a file or directory that is mounted into containers.
        type: of its label.
        after: resources below the path: files that are moved there bring another label.
    """

    path: str
    type: str = "container_file_t"
    after: tuple[Resource | str, ...] = ()

    @property
    def id(self) -> str:
        """`selinux-label:PATH`."""
        return f"selinux-label:{self.path}"

    def probe(self) -> str:
        """The labels; nothing without SELinux."""
        return (
            "[ -e /sys/fs/selinux/enforce ] || exit 0\n"
            f"find {quote(self.path)} -maxdepth 1 -exec stat -c %C {{}} + 2>/dev/null | sort -u\n"
        )

    def observe(self, section: Section) -> tuple[str, ...]:
        """Their types."""
        return tuple(sorted({line.split(":")[2] for line in section.lines if line.count(":") >= 2}))

    def plan(self, observed: tuple[str, ...], pending: Pending) -> Change | None:
        """`label` it."""
        wrong = [name for name in observed if name != self.type]
        earlier = pending.any(*self.after)
        if not wrong and earlier is None:
            return None
        why = f"{', '.join(wrong)} -> {self.type}" if wrong else f"after {earlier and earlier.action} of its files"
        return Change(self.id, "label", why, {"types": wrong}, {"types": [self.type]}, uncertain=not wrong)

    def steps(self, change: Change) -> Iterator[Step]:
        """One script. The level is the one that all containers may use."""
        yield Run(f"chcon -R -t {quote(self.type)} -l s0 {quote(self.path)}\n", timeout=600)
