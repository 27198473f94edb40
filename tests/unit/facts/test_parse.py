"""The parser against whatever a host may say."""

import re
from collections.abc import Iterator
from unicodedata import category

from hypothesis import given
from hypothesis import strategies as st

from provision.facts import Facts, parse, script
from provision.facts.gpus import architecture
from provision.facts.model import GPU
from provision.facts.show import as_data
from provision.facts.support import refusal

SPOKEN = re.findall(r"\b(?:say|each|lines|first|file) ([a-z_]+)\b", script(readings=True))
KEYS = [*sorted(set(SPOKEN)), "tree_model", "tcp", "tcp6"]
# What the probe might print, and its near misses: fields that look right until the last character.
HINTS = st.sampled_from(
    [
        "0000:01:00.0 0x030000 0x10de 0x2204 nvidia 0",
        "00000000:01:00.0, 580, GPU-x, 9" + "9" * 40 + ", [N/A], , , name",
        "rc=0",
        "1/properties:gfx_target_version 99999999999999999",
        "1/properties:location_id 4294967296",
        "Bus Location: :::",
        "eth0\t00000000\t0\t3\t0\t0\t0\t00000000",
        "eth0\tFFFFFFFF\t0\t3\t0\t0\t0\t0F0F0F0F",
        "|-- 999.1.1.1",
        "/32 host LOCAL",
        "/dev/vda ext4 1 2 -3 4% /",
        "LISTEN 0 1 *:99999 *:*",
        "LISTEN 0 1 [::1]:70000 *:*",
        "0: 0100007F:FFFF 00000000:0000 0A 0",
        "0-" + "9" * 18,
        "9" * 5000,
        "1" * 15 + ".5",
        "video:x:٣:",
        "# R36 (release)",
        "192.0.2.1 dev eth0 src ::ffff:bad",
    ]
)
RECORD = st.tuples(st.sampled_from(KEYS), HINTS | st.text(max_size=60)).map(lambda pair: f"{pair[0]}={pair[1]}")


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def assert_fit_for_a_terminal(facts: Facts) -> None:
    for text in texts(as_data("host", facts)):
        assert len(text) < 5000
        assert not {category(character) for character in text} & {"Cc", "Cs", "Zl", "Zp"}


def test_the_keys_that_the_probe_prints_are_known_to_these_tests() -> None:
    assert {"os", "pci", "smi", "df", "ss", "tree_model"} <= set(KEYS)


@given(st.binary(max_size=4000))
def test_any_bytes_are_facts_or_notes(out: bytes) -> None:
    facts = parse(out)
    assert facts.notes
    assert refusal(facts.identity) is not None
    assert_fit_for_a_terminal(facts)


@given(st.lists(RECORD, max_size=40))
def test_any_values_of_known_records_are_facts_or_notes(lines: list[str]) -> None:
    facts = parse("\n".join(lines).encode("utf-8", "surrogatepass"))
    refusal(facts.identity)
    assert_fit_for_a_terminal(facts)


def test_an_endless_answer_is_bounded() -> None:
    facts = parse(b"os=ID=debian\n" + b"group=video:x:44:\n" * 500_000 + b"os=ID=nixos\nend=identity\n")
    assert facts.identity.os.id == "debian"
    assert "did not come to its end" in facts.notes[0]


def test_an_answer_cut_in_the_readings_says_so() -> None:
    out = b"os=ID=debian\nmachine=x86_64\nmemory=5\nip=1 src 10.0.0.1\nend=identity\nbegin=readings\n"
    facts = parse(out)
    assert facts.notes == ("the probe did not come to its end: what it says is not complete",)
    assert not facts.complete
    assert parse(out + b"path=/\ndf=/dev/vda ext4 1 1 1 1% /\nend=readings\n").complete


def test_architectures_by_pci_id() -> None:
    known = {
        "1180": "kepler",
        "1380": "maxwell",
        "1b80": "pascal",
        "1db6": "volta",
        "1e07": "turing",
        "2187": "turing",
        "20b0": "ampere",
        "2204": "ampere",
        "2684": "ada",
        "2330": "hopper",
        "2b85": "blackwell",
        "2e12": "blackwell",
        "ffff": "",
    }
    assert {device: architecture(GPU("", "nvidia", device, "")) for device in known} == known
    assert architecture(GPU("", "amd", "2204", "")) == ""
    assert architecture(GPU("soc", "nvidia", "", "")) == ""
