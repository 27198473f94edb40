"""Inventories made by hypothesis: nested groups, ranges, priorities, group_vars and host_vars."""

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

# A group has only later ones below it: no cycles.
GROUPS = ("west", "gpu", "lab", "a1", "web_db", "zz")
HOSTS = ("h1", "h2", "h3", "h2:2222", "n[1:3]", "n[01:03]", "x[a:c:2].lan", "[fe80::1]:22", "h[1:3]", "10.0.0.1")
NAMES = ("v1", "v2", "v3", "space", "other")
VALUES = (
    "1", "0.30", "0644", "22:22", "on", "1e3", "0x1F", "2024-01-02", "'on'", "text", "''", "[1, two]", "[]",
    "{a: 1, b: [x]}", "{a: {c: 2}}", "{a: {d: no, c: 3}, e: 0.10}", "{b: {}}", "'{{ v1 }}'", "!!str 5", "1_000",
)  # fmt: skip
NULLS = ("~", "null", "{a: ~}")


@dataclass
class Inventory:
    """Files by relative path."""

    files: dict[str, str] = field(default_factory=dict)
    nulls: bool = False

    def write(self, folder: Path) -> Path:
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder / "hosts.yml"


def variables(values: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(NAMES), values, max_size=most)


def lines(found: dict[str, str], indent: int) -> str:
    return "".join(f"{' ' * indent}{name}: {value}\n" for name, value in found.items())


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    nulls = draw(st.integers(0, 3)) == 0
    values = st.sampled_from(VALUES + NULLS if nulls else VALUES)
    text = ""
    tops = draw(st.lists(st.sampled_from(range(len(GROUPS))), unique=True, max_size=4))
    text += "all:\n" + draw(body(values, -1, 2, 0))
    for top in tops:
        text += f"{GROUPS[top]}:\n" + draw(body(values, top, 2, 0))
    found = Inventory({"hosts.yml": text}, nulls)
    for name in draw(st.lists(st.sampled_from(("all", *GROUPS)), unique=True, max_size=4)):
        draw_files(draw, found, f"group_vars/{name}", values)
    for name in draw(st.lists(st.sampled_from(("h1", "h2", "n1", "n01", "xa.lan", "nobody")), unique=True, max_size=3)):
        draw_files(draw, found, f"host_vars/{name}", values)
    return found


def draw_files(draw: st.DrawFn, found: Inventory, base: str, values: st.SearchStrategy[str]) -> None:
    if draw(st.integers(0, 3)) == 0:
        for part in ("b.yml", "a", "sub/c.yaml", "ignored.txt"):
            found.files[f"{base}/{part}"] = "---\n" + lines(draw(variables(values, 2)), 0)
    else:
        ending = draw(st.sampled_from(("", ".yml", ".yaml")))
        found.files[base + ending] = lines(draw(variables(values)), 0) or "# nothing\n"


@st.composite
def body(draw: st.DrawFn, values: st.SearchStrategy[str], index: int, indent: int, depth: int) -> str:
    """What stands below the name of a group."""
    pad = " " * indent
    text = ""
    if found := draw(variables(values)):
        text += f"{pad}vars:\n{lines(found, indent + 2)}"
        if index >= 0 and draw(st.booleans()):
            text += f"{pad}  ansible_group_priority: {draw(st.integers(-1, 12))}\n"
    hosts = draw(st.lists(st.sampled_from(HOSTS), unique=True, max_size=3))
    if hosts:
        text += f"{pad}hosts:\n"
        for host in hosts:
            own = draw(variables(values, 2)) if draw(st.booleans()) else {}
            text += f'{pad}  "{host}":\n{lines(own, indent + 4)}'
    later = range(index + 1, len(GROUPS))
    children = draw(st.lists(st.sampled_from(later), unique=True, max_size=2)) if later and depth < 4 else []
    if children:
        text += f"{pad}children:\n"
        for child in children:
            text += f"{pad}  {GROUPS[child]}:\n" + draw(body(values, child, indent + 4, depth + 1))
    return text
