"""Why part of a model is on the CPU although there is a GPU: the three likeliest causes, with what the host says."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from provision.accelerators import VULKAN_DRIVERS, Computing, Library, has_code
from provision.dataclass import dataclass
from provision.values import human_bytes, printable
from provision.verify.checks import devices
from provision.verify.checks.devices import Access

LIMITS: Mapping[Library, tuple[str, ...]] = {
    "cuda": ("OLLAMA_GPU_OVERHEAD", "CUDA_VISIBLE_DEVICES", "OLLAMA_LLM_LIBRARY", "LLAMA_ARG_FIT_TARGET"),
    "rocm": (
        "OLLAMA_GPU_OVERHEAD",
        "ROCR_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "OLLAMA_LLM_LIBRARY",
        "LLAMA_ARG_FIT_TARGET",
    ),
    "vulkan": (
        "OLLAMA_VULKAN",
        "OLLAMA_IGPU_ENABLE",
        "GGML_VK_VISIBLE_DEVICES",
        "OLLAMA_GPU_OVERHEAD",
        "OLLAMA_LLM_LIBRARY",
        "LLAMA_ARG_FIT_TARGET",
    ),
}
"""Variables of the server's process that keep a model off a GPU, the likelier first."""

_HARMLESS = ("", "1", "t", "true")
"""Values with which OLLAMA_VULKAN and OLLAMA_IGPU_ENABLE keep nothing off."""

_SERVER = """\
p=$(systemctl show --value -p MainPID -- ollama.service)
tr '\\0' '\\n' <"/proc/$p/environ" | grep -E '^(OLLAMA|CUDA|LLAMA|HSA|ROCR|HIP|GPU|GGML)_' | sed 's/^/env=/'
systemctl show -p ExecMainStartTimestampMonotonic -- ollama.service
journalctl -q -b -o cat --no-pager _PID="$p" 2>/dev/null | grep 'inference compute' | tail -n 4 | sed 's/^/log=/'
"""

# The kernel's log tells when the driver came; /sys has no time that lasts.
_NVIDIA = """\
PATH=$PATH:/usr/lib/wsl/lib
timeout 20 nvidia-smi --query-gpu=name,memory.total,memory.free --format=csv,noheader,nounits 2>&1 | sed 's/^/smi=/'
timeout 20 nvidia-smi --query-compute-apps=process_name,used_memory --format=csv,noheader,nounits 2>/dev/null |
    sed 's/^/user=/'
journalctl -q -k -b -o short-monotonic --no-pager 2>/dev/null | grep -m 1 -i 'nvrm: loading\\|nvidia: loading' |
    sed 's/^/driver=/'
"""

_OTHERS = f"""\
{devices.QUESTION}\
e=$(readlink "/proc/$p/exe")
echo "libraries=$(find "${{e%/bin/*}}/lib/ollama/" -mindepth 1 -maxdepth 1 -type d ! -empty -printf '%f ' 2>/dev/null)"
echo "drivers=$(find {VULKAN_DRIVERS}/ -name '*.json' -printf '%f ' 2>/dev/null)"
for d in /sys/class/drm/card*/device; do
    [ ! -f "$d/mem_info_vram_total" ] ||
        echo "vram=$(cat "$d/mem_info_vram_total") $(cat "$d/mem_info_vram_used")"
done
"""


def question(gpus: Sequence[Computing]) -> str:
    """What explains a bad placement on these GPUs, as a read-only sh fragment."""
    libraries = {one.by for one in gpus}
    return _SERVER + (_NVIDIA if "cuda" in libraries else "") + (_OTHERS if libraries - {"cuda"} else "") + ":\n"


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
        access: to the files of AMD's and Intel's GPUs.
        folders: that hold something, in the `lib/ollama` of the program that runs.
        drivers: of Vulkan, by their files.
    """

    cards: tuple[tuple[str, int, int], ...] = ()
    complaint: str = ""
    users: tuple[tuple[str, int], ...] = ()
    environment: Mapping[str, str] | None = None
    started: float | None = None
    driver: float | None = None
    libraries: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    folders: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()


def parse(text: str) -> Seen:
    """Read what `question` printed. Lines that cannot be read are left out: they only explain."""
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
        cards or tuple(_vram(values.get("vram", []))),
        "" if cards else "; ".join(values.get("smi", [])),
        tuple((name, int(size)) for name, _, size in users if size.strip().isdigit() and "ollama" not in name),
        dict(line.partition("=")[::2] for line in values.get("env", [])),
        int(started) / 1e6 if started.isdigit() and started != "0" else None,
        float(driver[1]) if driver else None,
        tuple(re.findall(r"\blibrary=(\w+)", "\n".join(values.get("log", [])))),
        devices.parse(text.splitlines()),
        tuple(" ".join(values.get("libraries", [])).split()),
        tuple(" ".join(values.get("drivers", [])).split()),
    )


def _vram(lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """AMD's driver tells bytes in all and in use."""
    for number, words in enumerate(line.split() for line in lines):
        if len(words) == 2 and all(word.isdecimal() for word in words):
            yield f"card {number}", int(words[0]) >> 20, (int(words[0]) - int(words[1])) >> 20


@dataclass(frozen=True)
class Cause:
    """A cause with what the host says of it; `found` when that speaks for it."""

    text: str
    found: bool = False


def explain(entry: Mapping[str, Any], parameters: Mapping[str, Any], seen: Seen, gpus: Sequence[Computing]) -> str:
    """One line: how much is on the CPU, and the three causes; of AMD's and Intel's GPUs those first that were found.

    Args:
        entry: of the model in `/api/ps`.
        parameters: of the model.
        seen: on the host.
        gpus: that the server should compute on; the first one's library counts.
    """
    rest = entry["size"] - entry.get("size_vram", 0)
    by = gpus[0].by
    limits = _limits(parameters, seen, by)
    if by == "cuda":
        causes = [_room(entry, seen, "nvidia-smi"), limits, _order(seen)]
    elif by == "rocm":
        room = _room(entry, seen, "the driver")
        causes = [_access(seen, by), _folder(seen, by), _targets(seen, gpus), limits, room]
    else:
        causes = [_access(seen, by), _drivers(seen), _folder(seen, by), limits, _targets(seen, gpus)]
    if by != "cuda":
        causes.sort(key=lambda cause: not cause.found)
    numbered = ", ".join(f"({number}) {cause.text}" for number, cause in enumerate(causes[:3], 1))
    end = f"; {_began(seen)}" if by != "cuda" and seen.libraries else ""
    return (
        f"{human_bytes(rest)} of {human_bytes(entry['size'])} are on the CPU although the GPU is usable{_names(gpus)}; "
        f"likeliest causes: {numbered}{end}"
    )


def _names(gpus: Sequence[Computing]) -> str:
    """What is to be used, where it is not the one that everybody thinks of."""
    if gpus[0].by == "cuda":
        return ""
    shown = (f"{one.gpu.name or f'{one.gpu.vendor} {one.gpu.device}'}" for one in gpus if one.by == gpus[0].by)
    name = {"rocm": "ROCm", "vulkan": "Vulkan"}[gpus[0].by]
    return f" ({printable(', '.join(dict.fromkeys(shown)), 120)}, by {name})"


def _room(entry: Mapping[str, Any], seen: Seen, who: str) -> Cause:
    what = "it is too large for the GPU's free memory"
    if not seen.cards:
        return Cause(f"{what}: {who} says {printable(seen.complaint, 120) or 'nothing'}")
    # What is free now is free beside the part of the model that is there.
    free = sum(free for _, _, free in seen.cards) << 20
    rest = entry["size"] - entry.get("size_vram", 0)
    fits = "less than" if free < rest else "enough for"
    cards = ", ".join(f"{printable(name, 40)} {left} of {total} MiB" for name, total, left in seen.cards)
    others = "".join(f", {printable(name, 60)} holds {size} MiB" for name, size in seen.users)
    return Cause(f"{what}: free are {cards}, {fits} the {human_bytes(rest)}{others}", free < rest)


def _limits(parameters: Mapping[str, Any], seen: Seen, by: Library) -> Cause:
    found = [f"num_gpu {parameters['num_gpu']}"] if "num_gpu" in parameters else []
    found += [
        f"{name}={printable(value, 60)}"
        for name in LIMITS[by]
        if (value := (seen.environment or {}).get(name))
        and not (name in ("OLLAMA_VULKAN", "OLLAMA_IGPU_ENABLE") and value.lower() in _HARMLESS)
    ]
    if not seen.environment:
        return Cause("a setting limits it: the server's process cannot be read")
    none = f"neither num_gpu nor {LIMITS[by][0]} is set"
    return Cause(f"a setting limits it: {', '.join(found) or none}", bool(found))


def _order(seen: Seen) -> Cause:
    return Cause(f"the server started before the driver: {'; '.join(_order_seen(seen))}")


def _order_seen(seen: Seen) -> Iterator[str]:
    if seen.started is None or seen.driver is None:
        yield "when is not known"
    elif seen.started < seen.driver:
        yield f"it did, {seen.driver - seen.started:.0f} s before: restart it"
    else:
        yield f"it did not, but {seen.started - seen.driver:.0f} s after it"
    if seen.libraries:
        yield _began(seen)


def _began(seen: Seen) -> str:
    return f"at its start it found {', '.join(dict.fromkeys(seen.libraries))}"


def _access(seen: Seen, by: Library) -> Cause:
    found = list(devices.complaints(seen.access, (by,)))
    there = ", ".join(node.path for node in seen.access.nodes)
    return Cause(f"the GPU's device files: {'; '.join(found) or f'its process may open {there}'}", bool(found))


def _folder(seen: Seen, by: Library) -> Cause:
    """ROCm's libraries come as an archive of their own, Vulkan's with the base."""
    there = [printable(name, 40) for name in seen.folders if name.startswith(by)]
    if there:
        return Cause(f"the release's libraries: lib/ollama has {', '.join(there)}")
    archive = " (the -rocm archive)" if by == "rocm" else ""
    others = ", ".join(printable(name, 40) for name in seen.folders) or "none at all"
    return Cause(f"the release's libraries: lib/ollama has no {by}*{archive}, but {others}", True)


def _drivers(seen: Seen) -> Cause:
    what = f"Vulkan's drivers in {VULKAN_DRIVERS}"
    if not seen.drivers:
        return Cause(f"{what}: there is none", True)
    return Cause(f"{what}: {printable(', '.join(seen.drivers), 120)}")


def _targets(seen: Seen, gpus: Collection[Computing]) -> Cause:
    """What the GPUs are, against what ROCm's libraries have code for."""
    targets = [one.gpu.target for one in gpus if one.gpu.target]
    foreign = [target for target in dict.fromkeys(targets) if not has_code(target)]
    overrides = {
        name: value for name, value in (seen.environment or {}).items() if name.startswith("HSA_OVERRIDE_GFX_VERSION")
    }
    said = ", ".join(f"{name}={printable(value, 20)}" for name, value in sorted(overrides.items()))
    what = "the GPU's target"
    if foreign:
        pretends = f"{said} pretends another one" if said else "HSA_OVERRIDE_GFX_VERSION is not set"
        return Cause(f"{what}: ROCm's libraries have no code for {', '.join(foreign)}; {pretends}", True)
    if targets and said:
        return Cause(f"{what}: {said} pretends another one than {', '.join(dict.fromkeys(targets))}", True)
    return Cause(f"{what}: {', '.join(dict.fromkeys(targets)) or 'not known'}")
