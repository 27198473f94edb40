"""Facts for a reader: a table, and JSON with a stable schema."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from provision.facts.gpus import architecture
from provision.facts.model import GPU, Facts, FileSystem, Readings
from provision.facts.support import refusal
from provision.values import human_bytes

SCHEMA = 1
"""Raised when a key of the JSON changes its meaning or goes; new keys may come without."""

COLUMNS = ("host", "system", "arch", "CPU", "memory", "GPU", "disk free", "Docker", "Ollama")


def as_data(host: str, what: Facts | str) -> dict[str, Any]:
    """Everything, as JSON values: sizes in bytes, times in seconds; `refused` is why the host is not served or null.

    A host without facts has `error`, which is `what`, instead.
    """
    if isinstance(what, str):
        return {"schema": SCHEMA, "host": host, "error": what}
    return {
        "schema": SCHEMA,
        "host": host,
        "identity": _plain(what.identity),
        "readings": _plain(what.readings),
        "notes": list(what.notes),
        "refused": refusal(what.identity),
    }


def as_json(host: str, what: Facts | str) -> str:
    """`as_data` in one line: what `facts --json` prints for each host."""
    return json.dumps(as_data(host, what), ensure_ascii=False)


def row(host: str, facts: Facts) -> tuple[str, ...]:
    """The cells of one host, in the order of `COLUMNS`."""
    identity, readings = facts.identity, facts.readings
    processor = f"{identity.cpus} × {_short(identity.cpu)}" if identity.cpu else str(identity.cpus or "")
    engine = readings.docker
    if engine and readings.docker_running:
        engine += f" ({readings.docker_containers} running)"
    elif engine:
        engine += " (stopped)"
    return (
        host,
        identity.os.name + _marks(facts),
        identity.arch,
        processor,
        human_bytes(identity.memory) if identity.memory else "",
        "\n".join(
            _gpu(gpu, identity.nvidia_driver) for gpu in identity.gpus if gpu.vendor in ("nvidia", "amd", "intel")
        ),
        "\n".join(_disks(readings)),
        engine,
        "\n".join(f"{item.version or '?'} {item.path}" for item in readings.ollamas),
    )


def remarks(host: str, facts: Facts) -> list[str]:
    """What an admin should know besides, one line each: why the host is not served, a reboot, the probe's notes."""
    said = list(facts.notes)
    if reason := refusal(facts.identity):
        said.insert(0, f"not served: {reason}")
    if facts.readings.reboot_required:
        said.append("a reboot is pending")
    return [f"{host}: {text}" for text in said]


def plain(rows: Iterable[tuple[str, ...]]) -> str:
    """A table for a pipe or a log: one line a host, cells by two blanks, several values in a cell by commas."""
    table = [COLUMNS, *(tuple(cell.replace("\n", ", ") or "-" for cell in cells) for cells in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
    )


def _marks(facts: Facts) -> str:
    marks = sorted(facts.identity.marks)
    return f" [{', '.join(marks)}]" if marks else ""


def _gpu(gpu: GPU, module: str) -> str:
    """`NVIDIA GeForce RTX 3090 25.8 GB (nvidia 580.95.05)`, or what is known."""
    name = gpu.name or " ".join(part for part in (gpu.vendor, architecture(gpu), gpu.device) if part)
    size = f" {human_bytes(gpu.memory)}" if gpu.memory else ""
    driver = f"{gpu.driver} {module}".strip() if gpu.driver == "nvidia" else gpu.driver or "no driver"
    return f"{name}{size} ({driver})"


def _disks(readings: Readings) -> list[str]:
    """One line a file system, under the name of the first path that was asked for on it."""
    seen: dict[str, FileSystem] = {}
    for item in readings.file_systems:
        seen.setdefault(item.mount, item)
    return [f"{human_bytes(item.free)} on {item.mount}" for item in seen.values()]


def _short(cpu: str) -> str:
    for noise in ("(R)", "(TM)", " CPU", " Processor", " with Radeon Graphics"):
        cpu = cpu.replace(noise, "")
    return cpu.partition(" @ ")[0]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
