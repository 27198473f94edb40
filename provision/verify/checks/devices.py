"""Whether Ollama's process may open the files through which it computes on AMD's and Intel's GPUs."""

import re
from collections.abc import Iterable, Iterator

from provision.dataclass import dataclass
from provision.resources.base import Section
from provision.verify.check import Check, Verdict
from provision.verify.checks.sources import Asked

KFD = "/dev/kfd"
RENDER = "/dev/dri/renderD"

# `$p` is the process. Numbers count: in a container a group may have another name than on its host, or none.
QUESTION = f"""\
sed -n 's/^\\(Gid\\|Groups\\):/process=/p' "/proc/$p/status"
for node in {KFD} {RENDER}*; do [ ! -e "$node" ] || stat -L -c 'node=%n %a %g %G' -- "$node"; done
"""


@dataclass(frozen=True)
class Node:
    """A device file: its mode, and its group by number and name."""

    path: str
    mode: int
    group: int
    name: str

    def opens(self, groups: Iterable[int]) -> bool:
        """Whether a process in these groups may read and write it."""
        return self.mode & 0o006 == 0o006 or (self.mode & 0o060 == 0o060 and self.group in groups)


@dataclass(frozen=True)
class Access:
    """The files that are there, and the numbers of the process's groups; none when there is no process."""

    nodes: tuple[Node, ...] = ()
    groups: frozenset[int] = frozenset()


def parse(lines: Iterable[str]) -> Access:
    """Read what `QUESTION` printed."""
    nodes, groups = [], set[int]()
    for key, _, value in (line.partition("=") for line in lines):
        words = value.split()
        if key == "process":
            groups |= {int(word) for word in words if word.isdecimal()}
        elif key == "node" and len(words) == 4 and re.fullmatch("[0-7]{3,4}", words[1]) and words[2].isdecimal():
            nodes.append(Node(words[0], int(words[1], 8), int(words[2]), words[3]))
    return Access(tuple(nodes), frozenset(groups))


def complaints(access: Access, libraries: Iterable[str]) -> Iterator[str]:
    """What keeps a process from computing by these libraries: `rocm` needs both kinds of files, `vulkan` one."""
    if not access.groups:
        yield "there is no process of ollama.service"
        return
    wanted = (KFD, RENDER) if "rocm" in libraries else (RENDER,)
    for beginning in wanted:
        if not any(node.path.startswith(beginning) for node in access.nodes):
            yield f"there is no {beginning}{'*' if beginning == RENDER else ''}"
    for node in access.nodes:
        if node.path.startswith(wanted) and not node.opens(access.groups):
            name = "without a name" if node.name == "UNKNOWN" else node.name
            groups = ", ".join(map(str, sorted(access.groups)))
            yield (
                f"its process may not open {node.path}, of the group {node.group} ({name}) with mode {node.mode:04o}: "
                f"it is in the groups {groups}"
            )


@dataclass(frozen=True)
class Devices(Check):
    """The server's process may open the files of the GPUs that it computes on.

    Args:
        libraries: `rocm`, `vulkan`.
    """

    libraries: tuple[str, ...]
    name = "gpu devices"
    needs = ("service ollama",)
    early = True

    def question(self) -> str:
        """The groups of the process; of each file its mode and group."""
        return Asked(f"unit ollama.service\n{QUESTION}:\n", ["ollama.service"])

    def judge(self, answer: Section) -> Verdict:
        """All of them."""
        access = parse(answer.lines)
        return Verdict.of(list(complaints(access, self.libraries)), ", ".join(node.path for node in access.nodes))
