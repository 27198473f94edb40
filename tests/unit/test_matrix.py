"""Every system of facts/systems.yml x every GPU situation of roles/gpus.yml x amd64 and arm64: `matrix/*.txt`.

`systems.txt` has what is declared on a server without a GPU, and why a system is refused; each other file what these
GPUs add to that. Systems with the same answer stand together, what is the same on all stands under "everywhere".
`{x86_64,sbsa}` is the first on amd64 and the second on arm64; what differs in more stands apart.
`UPDATE_SNAPSHOTS=1` writes the files anew.
"""

import itertools
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from provision.engine.declare import Declarer
from provision.engine.plan import Declared
from provision.engine.reach import Reach
from provision.errors import InputError
from provision.facts.model import Identity
from provision.facts.support import refusal
from provision.inventory.reader import load
from provision.resources.base import Resource
from provision.resources.package import Package
from provision.resources.release import Release
from provision.resources.repository import Repository
from provision.resources.service import Service
from provision.roles import RoleSchemas
from tests.unit.facts.tree import cases, system
from tests.unit.roles.test_plans import details

HERE = Path(__file__).parent
MATRIX = HERE / "matrix"
ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
# Systems that exist for one architecture.
ONLY = {"WSL1": "amd64", "DGX OS 7": "amd64", "Arch": "amd64"}
# Files and tools that are strange, on systems that are here anyway: facts/ has them.
STRANGE = (
    "Arch, a container image whose version is a template's",
    "Debian with the package musl beside glibc",
    "a KVM guest",
    "two package managers, the family's own counts",
    "only /usr/lib/os-release",
    "no os-release at all",
    "an empty os-release",
    "an os-release with quotes, escapes and comments",
    "openSUSE Leap whose zypper is gone",
    "a container on a machine whose kernel is too old",
    "a kernel that is too old",
)
# The kernels that run there: driver packages follow them. By the beginning of the system's name; elsewhere Debian 13's.
KERNELS = {
    "Debian 12": ("6.1.0-37-amd64", "6.1.0-37-arm64"),
    "Raspberry Pi OS, 64-bit": ("", "6.12.25+rpt-rpi-2712"),
    "Ubuntu 22.04": ("5.15.0-119-generic", "5.15.0-119-generic"),
    "Jetson": ("", "5.15.148-tegra"),
    "Ubuntu 24.04": ("6.8.0-45-generic", "6.8.0-45-generic"),
    "DGX": ("6.8.0-1029-nvidia", ""),
    "Ubuntu 26.04": ("7.0.0-10-generic", "7.0.0-10-generic"),
    "Amazon": ("6.1.147-172.266.amzn2023.x86_64", "6.1.147-172.266.amzn2023.aarch64"),
    "Fedora 42": ("6.16.5-200.fc42.x86_64", "6.16.5-200.fc42.aarch64"),
    "Fedora 43": ("6.17.1-300.fc43.x86_64", "6.17.1-300.fc43.aarch64"),
    "openSUSE Leap 15.6": ("6.4.0-150600.23.53-default", "6.4.0-150600.23.53-default"),
    "openSUSE Leap 16.0": ("6.12.0-160000.5-default", "6.12.0-160000.5-default"),
    "SLES": ("6.4.0-150700.53.3-default", "6.4.0-150700.53.3-default"),
    "Arch Linux ARM": ("", "6.17.1-1-aarch64-ARCH"),
    "Arch": ("6.17.1-arch1-1", ""),
    **dict.fromkeys(
        ("Rocky 9", "AlmaLinux 9", "RHEL 9", "CentOS Stream 9", "Oracle Linux 9"),
        ("5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.12.1.el9_6.aarch64"),
    ),
    **dict.fromkeys(
        ("Rocky 10", "AlmaLinux 10", "RHEL 10", "CentOS Stream 10"),
        ("6.12.0-55.9.1.el10_0.x86_64", "6.12.0-55.9.1.el10_0.aarch64"),
    ),
    "": ("6.12.43+deb13-amd64", "6.12.43+deb13-arm64"),
}
SYSTEMS = {case["name"]: case for case in cases("systems.yml") if case["name"] not in STRANGE}
DEVICES = {case["name"]: case for case in cases("devices.yml")}
ROLES = ["base", "docker", "nvidia", "ollama"]


def situations() -> dict[str, dict[str, Any]]:
    """The hosts of gpus.yml that differ in more than their system, by name."""
    found: dict[str, dict[str, Any]] = {}
    for host in yaml.safe_load((HERE / "roles" / "gpus.yml").read_text()):
        one = {
            "devices": host["devices"],
            "files": host.get("files", {}),
            "settings": {"nvidia": host.get("nvidia", {})},
        }
        if one not in [{key: kept[key] for key in one} for kept in found.values()]:
            found[re.sub("-rocky$", "", host["name"])] = {"what": host["what"], **one}
    return found


SITUATIONS = situations()


def arches(name: str) -> list[str]:
    """Those that a system exists for; its userland may have another name (`armhf`)."""
    case = SYSTEMS[name]
    if {"machine", "dpkg", "long_bit"} & set(case):
        return ["arm64" if case.get("machine") == "aarch64" else "amd64"]
    return [ONLY[name]] if name in ONLY else list(ARCHES)


COMBINATIONS = [(name, arch) for name in SYSTEMS for arch in arches(name)]


def probed(name: str, arch: str, situation: str = "") -> Identity:
    """What the real probe finds on a system, with these GPUs."""
    case = SYSTEMS[name]
    if {"machine", "dpkg", "long_bit"}.isdisjoint(case):
        case = {**case, "machine": ARCHES[arch], "dpkg": arch}
    with TemporaryDirectory() as folder:
        tree = system(Path(folder), case)
        kernel = next(both for prefix, both in KERNELS.items() if name.startswith(prefix))[list(ARCHES).index(arch)]
        files = {"proc/sys/kernel/osrelease": f"{kernel}\n"} | case.get("files", {})
        if situation:
            devices = DEVICES[SITUATIONS[situation]["devices"]]
            for one in devices.get("pci", ()):
                tree.device(one)
            files |= devices.get("files", {}) | SITUATIONS[situation]["files"]
            if "smi" in devices:
                tree.smi(devices["smi"])
        for path, content in files.items():
            tree.file(path, content)
        return tree.facts().identity


@cache
def bare(name: str, arch: str) -> Identity:
    """A system without a GPU."""
    return probed(name, arch)


@cache
def added(situation: str, arch: str) -> Mapping[str, Any]:
    """What GPUs change in the identity of a server, by field."""
    without, found = bare("Debian 13", arch), probed("Debian 13", arch, situation)
    names = [one.name for one in fields(found) if getattr(found, one.name) != getattr(without, one.name)]
    return {name: getattr(found, name) for name in names}


def combined(name: str, arch: str, situation: str) -> Identity:
    """A system with these GPUs: what the probe finds of the one and of the other do not depend on each other."""
    host, changes = bare(name, arch), dict(added(situation, arch))
    changes["marks"] = host.marks | changes.get("marks", frozenset())
    return replace(host, **changes)


@cache
def declarer(settings: str) -> Declarer:
    """Asks the roles, with these settings of theirs."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.yml"
        variables = {"provision_roles": ROLES, **yaml.safe_load(settings)}
        path.write_text(yaml.safe_dump({"all": {"hosts": {"server": variables}}}))
        fleet = load(path, RoleSchemas(path))
    return Declarer(fleet, Reach(fleet))


def declared(identity: Identity, settings: str = "{}") -> Declared:
    """All that the roles declare there.

    Raises:
        InputError: they refuse it.
    """
    asked = declarer(settings)
    return asked.declare(asked.fleet.hosts["server"], identity)


Answer = tuple[str, ...]
"""What is declared, a line a resource; or one line that says why nothing is."""
WITHOUT_GPU = (Package, Repository, Service, Release)
# Said by the other resources, or everywhere the same: the plans have it.
LEFT_OUT = ("by", "from", "restarted by", "unit", "version", "reboots")


def shown(role: str, resource: Resource) -> str:
    """One resource."""
    told = ", ".join(f"{key} {value}" for key, value in details(resource) if value and key not in LEFT_OUT)
    return f"{role:<7} {resource.id}" + (f"  ({told})" if told else "")


def without_gpu(name: str, arch: str) -> Answer:
    """Packages, repositories, services and the server's archive; then what Docker's own packages change."""
    identity = bare(name, arch)
    found = [shown(*entry) for entry in declared(identity).entries if isinstance(entry[1], WITHOUT_GPU)]
    try:
        entries = declared(identity, "docker: {channel: docker-ce}").entries
    except InputError as error:
        return (*found, f"docker  channel docker-ce: {why_not(error, identity)}")
    others = [shown(*entry) for entry in entries if isinstance(entry[1], WITHOUT_GPU)]
    return (*found, *(f"docker  channel docker-ce:{text[7:]}" for text in others if text not in found))


def with_gpu(name: str, arch: str, situation: str) -> Answer:
    """What is declared beside that, or otherwise."""
    without = {resource.id: resource for _, resource in declared(bare(name, arch)).entries}
    identity = combined(name, arch, situation)
    try:
        entries = declared(identity, yaml.safe_dump(SITUATIONS[situation]["settings"])).entries
    except InputError as error:
        return (f"refused: {why_not(error, identity)}",)
    gone = without.keys() - {resource.id for _, resource in entries}
    assert not gone, f"{name} with {situation} has less: {gone}"
    return tuple(shown(role, one) for role, one in entries if without.get(one.id) != one)


def why_not(error: InputError, identity: Identity) -> str:
    """Without what a reader knows: the host, the role, the system."""
    return re.sub("^server: role [a-z]+: ", "", str(error)).replace(identity.os.name, "SYSTEM")


def rows(answer: Callable[[str, str], Answer], names: Iterable[str]) -> dict[Answer, list[tuple[str, str]]]:
    """Answer -> (system, architecture). Both architectures have one where nothing but their names differs."""
    answers = {(name, arch): answer(name, arch) for name in names for arch in arches(name)}
    both: dict[tuple[str, str], Answer] = {}
    # For a system of one architecture: the other ones' answer there -> theirs on both.
    same: dict[tuple[str, Answer], Answer] = {}
    for name in names:
        pair = [answers[name, arch] for arch in arches(name)]
        if len(pair) == 2 and (one := merged(*pair)):
            both |= dict.fromkeys([(name, arch) for arch in ARCHES], one)
            same |= dict.fromkeys(zip(ARCHES, pair, strict=True), one)
    found: dict[Answer, list[tuple[str, str]]] = {}
    for (name, arch), own in answers.items():
        found.setdefault(both.get((name, arch)) or same.get((arch, own), own), []).append((name, arch))
    return found


def merged(amd64: Answer, arm64: Answer) -> Answer | None:
    """`{x86_64,sbsa}` where two answers differ in words only; None where they do not."""
    pairs = [[re.split(r"([-/\s:.,()]+)", text) for text in texts] for texts in zip(amd64, arm64, strict=False)]
    if len(amd64) != len(arm64) or any(len(one) != len(other) for one, other in pairs):
        return None
    lines = ((a if a == b else f"{{{a},{b}}}" for a, b in zip(*pair, strict=True)) for pair in pairs)
    return tuple("".join(line) for line in lines)


def heading(these: Sequence[tuple[str, str]], everything: Sequence[tuple[str, str]]) -> str:
    """The systems of a block: with their architecture where the other has another answer, or does not exist."""
    if len(these) == len(everything):
        return "everywhere"
    for arch in ARCHES:
        if {there for _, there in these} == {arch}:
            whole = len(these) == sum(there == arch for _, there in everything)
            return f"{arch}: " + ("all" if whole else "; ".join(name for name, _ in these))
    known = {name: [there for one, there in these if one == name] for name, _ in these}
    return "; ".join(name + ("" if len(there) == 2 else f" ({there[0]})") for name, there in known.items())


def blocks(found: Mapping[Answer, Sequence[tuple[str, str]]]) -> Iterator[str]:
    """What all systems have, said once, in the order in which it is done; then what each has of its own."""
    everything = [one for these in found.values() for one in these]
    common = [line for line in next(iter(found)) if all(line in answer for answer in found)]
    if common:
        yield block("everywhere", common)
    for answer, these in found.items():
        if own := [line for line in answer if line not in common] or ([] if common else ["nothing"]):
            yield block(heading(these, everything), own)


def block(head: str, lines: Iterable[str]) -> str:
    """A heading and what belongs to it."""
    return textwrap.fill(head, 118) + "\n" + "".join(f"  {line}\n" for line in lines)


def refused() -> Iterator[str]:
    """Systems that are not served, a line each; all that are would be listed in many of them."""
    for name in SYSTEMS:
        reasons = {refusal(bare(name, arch)) or "" for arch in arches(name)}
        if "" not in reasons:
            (why,) = reasons
            yield f"{name}: {re.sub('Debian 12 and 13, .* Arch Linux', '(those above)', why)}"


SERVED = [name for name, case in SYSTEMS.items() if "refused" not in case]


def contents(name: str) -> str:
    """The text of a file."""
    if name == "systems":
        parts = ["# a server without a GPU\n", *blocks(rows(without_gpu, SERVED)), block("refused", refused())]
    else:
        found = rows(lambda system, arch: with_gpu(system, arch, name), SERVED)
        parts = [f"# {SITUATIONS[name]['what']}: what comes to systems.txt, or is otherwise\n", *blocks(found)]
    return "\n".join(parts)


FILES = ["systems", *SITUATIONS]


@pytest.mark.parametrize("name", FILES)
def test_the_matrix_is_what_was_reviewed(name: str) -> None:
    found, path = contents(name), MATRIX / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(found)
    assert path.read_text().splitlines() == found.splitlines()


def test_no_file_is_left_of_what_is_gone() -> None:
    assert {path.stem for path in MATRIX.iterdir()} == set(FILES)


def test_what_is_refused_is_refused_with_every_gpu_and_the_rest_with_none() -> None:
    for (name, arch), situation in itertools.product(COMBINATIONS, SITUATIONS):
        if "kernel" in name and "kernel" in added(situation, arch):
            continue  # WSL brings a kernel that is not too old
        assert bool(refusal(combined(name, arch, situation))) == (name not in SERVED), (name, arch, situation)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_probe_finds_both_on_one_host(situation: str) -> None:
    """Each GPU on systems of several families: the matrix puts together what was probed apart."""
    for number in range(3):
        place = (7 * list(SITUATIONS).index(situation) + 11 * number) % len(PLAIN)
        name, arch = PLAIN[place]
        assert probed(name, arch, situation) == combined(name, arch, situation), (name, arch)


# A Jetson's GPU is part of it, and WSL's kernel too.
PLAIN = [one for one in COMBINATIONS if one[0] in SERVED and not one[0].startswith(("Jetson", "WSL"))]
