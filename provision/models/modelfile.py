"""A Modelfile read by Ollama's own rules (ollama: parser/parser.go), with lines and columns for mistakes.

The server takes no Modelfiles, only JSON, and checks neither names nor types of parameters. So it is read here, before
any host is touched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field

from provision.dataclass import dataclass
from provision.errors import InputError, Mistake
from provision.models import parameters as known
from provision.models.names import ModelName, looks_like_gpt_oss

ROLES = ("system", "user", "assistant")
_KEYWORDS = [
    "FROM",
    "PARAMETER",
    "TEMPLATE",
    "SYSTEM",
    "ADAPTER",
    "LICENSE",
    "MESSAGE",
    "REQUIRES",
    "RENDERER",
    "PARSER",
]
_BLANK = " \t"


@dataclass(frozen=True)
class Instruction:
    """One instruction: `PARAMETER temperature 0.7` has keyword PARAMETER, name temperature, value 0.7."""

    keyword: str
    name: str
    value: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile says, the last of what may stand once, all of what may repeat."""

    sources: tuple[str, ...]
    parameters: Mapping[str, known.Value] = field(default_factory=dict)
    system: str | None = None
    template: str | None = None
    adapter: str | None = None
    licenses: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    requires: str | None = None
    renderer: str | None = None
    parser: str | None = None


def instructions(text: str, file: str = "Modelfile") -> Iterator[Instruction]:
    """The instructions of a Modelfile in order.

    Raises:
        InputError: with the place of the first line that cannot be read; what follows it cannot be trusted.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        rest = line.lstrip(_BLANK)
        if not rest or rest.startswith("#"):
            at += 1
            continue
        column = len(line) - len(rest) + 1
        start = at + 1
        keyword, rest, column = _word(rest, column)
        if keyword.upper() not in _KEYWORDS:
            raise _mistake(file, start, column, f"{keyword!r} is not an instruction: one of {', '.join(_KEYWORDS)}")
        keyword = keyword.upper()
        column += len(line) - len(rest) - column + 1
        name = ""
        if keyword in ("PARAMETER", "MESSAGE"):
            name, rest, _ = _word(rest, column)
        if not rest.strip():
            raise _mistake(file, start, len(line) + 1, f"{' '.join([keyword, name]).strip()} needs a value on its line")
        if keyword == "MESSAGE" and name not in ROLES:
            raise _mistake(file, start, column, f"the role of a MESSAGE is {', '.join(ROLES)}, not {name!r}")
        value, at = _value(lines, at, rest, file, len(line) - len(rest) + 1)
        yield Instruction(keyword, name, value, start, column)


def _word(text: str, column: int) -> tuple[str, str, int]:
    """The first word, what follows the blanks after it, and the word's column."""
    length = next((index for index, char in enumerate(text) if char in _BLANK), len(text))
    return text[:length], text[length:].lstrip(_BLANK), column


def _value(lines: list[str], at: int, first: str, file: str, column: int) -> tuple[str, int]:
    """A value, bare or quoted, which may go on over lines; and the index of the line after it."""
    start, collected = at + 1, first
    while True:
        trimmed = collected.strip()
        mark = '"""' if trimmed.startswith('"""') else '"' if trimmed.startswith('"') else ""
        if not mark:
            return trimmed, at + 1
        if trimmed.endswith(mark) and len(trimmed) >= 2 * len(mark):
            return trimmed[len(mark) : -len(mark)], at + 1
        at += 1
        if at == len(lines):
            raise _mistake(
                file, start, column, f"a value that begins with {mark} must end with {mark} at the end of a line"
            )
        collected += "\n" + lines[at]


def parse(text: str, file: str = "Modelfile") -> Modelfile:
    """Read a Modelfile and check all that the server would not.

    Raises:
        InputError: with every mistake as `file:line:column: message`.
    """
    mistakes: list[Mistake] = []
    found = list(instructions(text, file))
    values: dict[str, known.Value] = {}
    once: dict[str, str] = {}
    for item in found:
        once[item.keyword] = item.value
        if item.keyword == "PARAMETER":
            try:
                value = known.from_text(item.name, item.value)
            except ValueError as error:
                mistakes.append(Mistake(file, item.line, item.column, str(error)))
                continue
            if item.name in known.LIST:
                earlier = values.get(item.name)
                value = [*(earlier if isinstance(earlier, list) else []), str(value)]
            values[item.name] = value
    sources = tuple(item.value for item in found if item.keyword == "FROM")
    if not sources:
        mistakes.append(Mistake(file, 1, 1, "no FROM line"))
    mistakes += _harmony(found, file)
    if mistakes:
        raise InputError(mistakes)
    return Modelfile(
        sources=sources,
        parameters=values,
        system=once.get("SYSTEM"),
        template=once.get("TEMPLATE"),
        adapter=once.get("ADAPTER"),
        licenses=tuple(item.value for item in found if item.keyword == "LICENSE"),
        messages=tuple((item.name, item.value) for item in found if item.keyword == "MESSAGE"),
        requires=once.get("REQUIRES"),
        renderer=once.get("RENDERER"),
        parser=once.get("PARSER"),
    )


def _harmony(found: list[Instruction], file: str) -> Iterator[Mistake]:
    """A TEMPLATE on a gpt-oss base switches off the server's own reading of its channels: refused."""
    for source in (item.value for item in found if item.keyword == "FROM"):
        try:
            base = ModelName.parse(source)
        except ValueError:
            continue
        if looks_like_gpt_oss(base):
            for item in found:
                if item.keyword == "TEMPLATE":
                    text = f"a model on {source} keeps its own template: use SYSTEM and PARAMETER only"
                    yield Mistake(file, item.line, 1, text)


def render(model: Modelfile) -> str:
    """A Modelfile that `parse` reads back as the same value.

    Raises:
        ValueError: a text cannot be written down: Modelfiles know no escapes.
    """
    lines = [f"FROM {_written(source)}" for source in model.sources]
    for name, value in sorted(model.parameters.items()):
        for item in value if isinstance(value, list) else [value]:
            text = str(item).lower() if isinstance(item, bool) else str(item)
            lines.append(f"PARAMETER {name} {_written(text)}")
    once = ("system", "template", "adapter", "requires", "renderer", "parser")
    lines += [f"{key.upper()} {_written(value)}" for key in once if (value := getattr(model, key)) is not None]
    lines += [f"LICENSE {_written(text)}" for text in model.licenses]
    lines += [f"MESSAGE {role} {_written(text)}" for role, text in model.messages]
    return "\n".join(lines) + "\n"


def _written(text: str) -> str:
    if "\r" in text:
        raise ValueError("a carriage return cannot be written in a Modelfile")
    if text and text == text.strip() and "\n" not in text and not text.startswith('"'):
        return text
    for mark in ('"""', '"'):
        # A line inside the value that ends with the closing mark would end the value there.
        early = any(
            (mark + part).strip().endswith(mark) and len((mark + part).strip()) >= 2 * len(mark)
            for part in _heads(text)
        )
        if not early and not (mark == '"' and text.startswith('""')):
            return mark + text + mark
    raise ValueError("this text cannot be written in a Modelfile: it has quotes at the end of a line")


def _heads(text: str) -> Iterator[str]:
    """The text up to the end of each of its lines but the last."""
    at = text.find("\n")
    while at >= 0:
        yield text[:at]
        at = text.find("\n", at + 1)


def _mistake(file: str, line: int, column: int, message: str) -> InputError:
    return InputError([Mistake(file, line, column, message)])
