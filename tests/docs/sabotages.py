"""The table of sabotages in docs/verify.md, made from the one that the lab test works through."""

from tests.lab.sabotages import SABOTAGES

BEGIN = "<!-- Made by `make docs` from tests/lab/sabotages.py; a test compares it. -->\n"
END = "<!-- end -->"


def table() -> str:
    """A row for each."""
    rows = ["| what is done | check | its message says | seen by | blocked | repaired |", "|---|---|---|---|---|---|"]
    for one in SABOTAGES:
        cause = one.cause.replace("|", "\\|")
        by = "by hand" if one.repair else "`apply`"
        also = ", ".join(f"`{name}`" for name in one.also)
        rows.append(f"| {one.what} | `{one.check}` | {cause} | {also} | {len(one.blocked) or ''} | {by} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """The page with its table as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]
