"""os-release, as os-release(5) defines it: assignments in shell syntax without any expansion."""

import re
from collections.abc import Iterable, Mapping

from provision.facts.model import OS

_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")

_FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "raspbian": "debian",
    "rhel": "redhat",
    "centos": "redhat",
    "fedora": "redhat",
    "rocky": "redhat",
    "almalinux": "redhat",
    "ol": "redhat",
    "amzn": "redhat",
    "suse": "suse",
    "opensuse": "suse",
    "opensuse-leap": "suse",
    "opensuse-tumbleweed": "suse",
    "sles": "suse",
    "arch": "arch",
    "archarm": "arch",
    "cachyos": "arch",
}


def read(lines: Iterable[str]) -> dict[str, str]:
    """The assignments of an os-release file; lines that are none are left out, the last of equal keys counts."""
    values = {}
    for line in lines:
        if match := _ASSIGNMENT.fullmatch(line.strip()):
            values[match[1]] = _unquote(match[2].strip())
    return values


def system(values: Mapping[str, str], debian_version: str = "") -> OS:
    """What os-release says. `debian_version` is /etc/debian_version, for a Debian that has no version yet."""
    id_ = _identifier(values.get("ID", "")) or "linux"
    like = tuple(name for word in values.get("ID_LIKE", "").split() if (name := _identifier(word)))
    family = next((_FAMILIES[name] for name in (id_, *like) if name in _FAMILIES), id_)
    return OS(
        id=id_,
        version=_identifier(values.get("VERSION_ID", "")),
        codename=_codename(id_, family, values, debian_version),
        name=values.get("PRETTY_NAME", "")[:200] or values.get("NAME", "")[:200] or id_,
        family=family,
        like=like,
        platform=values.get("PLATFORM_ID", "")[:100],
        variant=_identifier(values.get("VARIANT_ID", "")),
    )


def _codename(id_: str, family: str, values: Mapping[str, str], debian_version: str) -> str:
    """Derivatives have codenames of their own in VERSION_CODENAME, which no repository of Docker or NVIDIA knows."""
    if family != "debian":
        return ""
    own = values.get("VERSION_CODENAME", "") if id_ in ("debian", "ubuntu", "raspbian") else ""
    unreleased = debian_version.partition("/")[0] if "/" in debian_version and id_ == "debian" else ""
    return _identifier(values.get("UBUNTU_CODENAME", "") or values.get("DEBIAN_CODENAME", "") or own or unreleased)


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPE.sub(r"\1", text[1:-1])
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    return text


def _identifier(text: str) -> str:
    """Ids, versions and codenames go into file names and repository lines: anything odd in one makes it unknown."""
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}", text, re.ASCII) else ""
