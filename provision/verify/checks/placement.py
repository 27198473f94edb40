"""Why part of a model is on the CPU although there is a GPU: the three likeliest causes, with what the host says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.values import human_bytes, printable

LIMITS = ("OLLAMA_GPU_OVERHEAD", "CUDA_VISIBLE_DEVICES", "OLLAMA_LLM_LIBRARY", "LLAMA_ARG_FIT_TARGET")
"""Variables of the server's process that keep a model off a GPU."""

# The kernel's log tells when the driver came; /sys has no time that lasts.
QUESTION = """\
timeout 20 nvidia-smi --query-gpu=name,memory.total,memory.free --format=csv,noheader,nounits 2>&1 | sed 's/^/smi=/'
timeout 20 nvidia-smi --query-compute-apps=process_name,used_memory --format=csv,noheader,nounits 2>/dev/null |
    sed 's/^/user=/'
p=$(systemctl show --value -p MainPID -- ollama.service)
tr '\\0' '\\n' <"/proc/$p/environ" | grep -E '^(OLLAMA_|CUDA_|LLAMA_)' | sed 's/^/env=/'
systemctl show -p ExecMainStartTimestampMonotonic -- ollama.service
journalctl -q -k -b -o short-monotonic --no-pager 2>/dev/null | grep -m 1 -i 'nvrm: loading\\|nvidia: loading' |
    sed 's/^/driver=/'
journalctl -q -b -o cat --no-pager _PID="$p" 2>/dev/null | grep 'inference compute' | tail -n 4 | sed 's/^/log=/'
:
"""


@dataclass(frozen=True)
class Seen:
    """What the host says.

    Args:
        cards: (name, MiB in all, MiB free) of each GPU.
        complaint: of nvidia-smi, when it lists none.
        users: other programs with memory of the GPU: (name, MiB).
        environment: of the server's process.
        started: the server's start, seconds after boot; None when it is not known.
        driver: the driver's load, seconds after boot; None when the kernel's log does not go back so far.
        libraries: that the server found at its start: `CUDA`, `cpu`.
    """

    cards: tuple[tuple[str, int, int], ...] = ()
    complaint: str = ""
    users: tuple[tuple[str, int], ...] = ()
    environment: Mapping[str, str] | None = None
    started: float | None = None
    driver: float | None = None
    libraries: tuple[str, ...] = ()


def parse(text: str) -> Seen:
    """Read what `QUESTION` printed. Lines that cannot be read are left out: they only explain."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        values.setdefault(key, []).append(value)
    rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in values.get("smi", [])]
    cards = tuple((row[0], int(row[1]), int(row[2])) for row in rows if len(row) == 3 and (row[1] + row[2]).isdigit())
    users = [line.rpartition(",") for line in values.get("user", [])]
    started = (values.get("ExecMainStartTimestampMonotonic") or [""])[0]
    driver = re.match(r"\[\s*(\d+\.\d+)\]", (values.get("driver") or [""])[0])
    return Seen(
        cards,
        "" if cards else "; ".join(values.get("smi", [])),
        tuple((name, int(size)) for name, _, size in users if size.strip().isdigit() and "ollama" not in name),
        dict(line.partition("=")[::2] for line in values.get("env", [])),
        int(started) / 1e6 if started.isdigit() and started != "0" else None,
        float(driver[1]) if driver else None,
        tuple(re.findall(r"\blibrary=(\w+)", "\n".join(values.get("log", [])))),
    )


def explain(entry: Mapping[str, Any], parameters: Mapping[str, Any], seen: Seen) -> str:
    """One line: how much is on the CPU, and the three causes.

    Args:
        entry: of the model in `/api/ps`.
        parameters: of the model.
        seen: on the host.
    """
    rest = entry["size"] - entry.get("size_vram", 0)
    causes = (_room(entry, seen), _limits(parameters, seen), _order(seen))
    numbered = ", ".join(f"({number}) {text}" for number, text in enumerate(causes, 1))
    return (
        f"{human_bytes(rest)} of {human_bytes(entry['size'])} are on the CPU although the GPU is usable; "
        f"likeliest causes: {numbered}"
    )


def _room(entry: Mapping[str, Any], seen: Seen) -> str:
    what = "it is too large for the GPU's free memory"
    if not seen.cards:
        return f"{what}: nvidia-smi says {printable(seen.complaint, 120) or 'nothing'}"
    # What is free now is free beside the part of the model that is there.
    free = sum(free for _, _, free in seen.cards) << 20
    rest = entry["size"] - entry.get("size_vram", 0)
    fits = "less than" if free < rest else "enough for"
    cards = ", ".join(f"{printable(name, 40)} {left} of {total} MiB" for name, total, left in seen.cards)
    others = "".join(f", {printable(name, 60)} holds {size} MiB" for name, size in seen.users)
    return f"{what}: free are {cards}, {fits} the {human_bytes(rest)}{others}"


def _limits(parameters: Mapping[str, Any], seen: Seen) -> str:
    found = [f"num_gpu {parameters['num_gpu']}"] if "num_gpu" in parameters else []
    found += [f"{name}={printable(value, 60)}" for name in LIMITS if (value := (seen.environment or {}).get(name))]
    if seen.environment is None or not seen.environment:
        return "a setting limits it: the server's process cannot be read"
    return f"a setting limits it: {', '.join(found) or 'neither num_gpu nor OLLAMA_GPU_OVERHEAD is set'}"


def _order(seen: Seen) -> str:
    return f"the server started before the driver: {'; '.join(_order_seen(seen))}"


def _order_seen(seen: Seen) -> Iterator[str]:
    if seen.started is None or seen.driver is None:
        yield "when is not known"
    elif seen.started < seen.driver:
        yield f"it did, {seen.driver - seen.started:.0f} s before: restart it"
    else:
        yield f"it did not, but {seen.started - seen.driver:.0f} s after it"
    if seen.libraries:
        yield f"at its start it found {', '.join(dict.fromkeys(seen.libraries))}"
