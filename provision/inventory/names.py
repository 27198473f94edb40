"""Nearest names, for every message that says what was meant."""

from collections.abc import Iterable


def distance(left: str, right: str, limit: int = 3) -> int:
    """Edit distance (insert, delete, replace, swap of neighbours), at most `limit` + 1."""
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row = row, [i]
        for j, b in enumerate(right, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = above
        if min(row) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def nearest(word: str, candidates: Iterable[str], limit: int = 3) -> str | None:
    """The candidate that `word` most likely stands for, or None. Short words must be nearer than long ones.

    A host name without its domain stands for the whole name.
    """
    allowed = min(limit, max(1, len(word) // 3 + 1))
    names = sorted(set(candidates))
    if longer := [name for name in names if word and name.startswith(f"{word}.")]:
        return longer[0]
    ranked = sorted((distance(word.lower(), name.lower(), allowed), name) for name in names)
    return ranked[0][1] if ranked and ranked[0][0] <= allowed else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean 'listen'?`, the choices when they are few, or ""."""
    names = sorted(set(candidates))
    if (name := nearest(word, names)) is not None:
        return f"; did you mean {name!r}?"
    if 0 < len(names) <= 12:
        return f"; known: {', '.join(names)}"
    return ""
