"""Packages by apt, in real shells: when it is tried again, what is never allowed, how failures are told."""

from pathlib import Path

import pytest

from provision.resources.package import Package
from tests.unit.resources.here import Here, StepFailed

LISTS = "/var/lib/apt/lists/mirror.test_debian_dists_trixie_main_binary-amd64_Packages"
# `fails` has a line for each call that is to fail; `status` is what dpkg says of all packages (`${db:Status-Abbrev}`
# before each name); where `lost` is, nothing came of a call that went well.
COMMANDS = {
    "apt-get": """\
echo "apt-get $*" >>"$ROOT/log"
case $* in *" update") exit 0 ;; esac
if [ -s "$ROOT/fails" ]; then
    sed -i 1d "$ROOT/fails"
    echo "Reading package lists..."
    echo "E: Unable to locate package jq" >&2
    echo "E: Sub-process /usr/bin/dpkg returned an error code (1)" >&2
    exit 100
fi
echo jq installed 1.7.1 >"$ROOT/known"
""",
    "dpkg-query": """\
case $2 in
*Abbrev*) cat "$ROOT/status" ;;
*) [ -e "$ROOT/lost" ] || cat "$ROOT/known" 2>/dev/null ;;
esac
""",
}
WAY_OUT = "on the host, dpkg --configure -a, then apt-get -f install"


@pytest.fixture(params=[("dash",), ("busybox", "sh"), ("bash", "--posix")], ids=["dash", "busybox", "bash"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    """A host without jq whose package lists are there."""
    made = Here(tmp_path, shell=request.param, commands=COMMANDS)
    made.put(LISTS)
    made.put("status", "ii adduser\nrc old-tool\n")
    return made


def calls(here: Here) -> list[str]:
    """The verbs of apt-get, in order."""
    words = (line.split() for line in here.path("log").read_text().splitlines())
    return [next(word for word in line if word in ("install", "update")) for line in words]


def test_lists_that_are_there_are_used_and_nothing_is_ever_removed(here: Here) -> None:
    here.apply(Package(("jq",)))
    assert calls(here) == ["install"]
    (line,) = here.path("log").read_text().splitlines()
    assert line.endswith(" install --no-install-recommends --no-remove jq")
    assert here.plan(Package(("jq",))) is None


def test_without_lists_they_are_fetched_first(here: Here) -> None:
    here.path(LISTS).unlink()
    here.apply(Package(("jq",)))
    assert calls(here) == ["update", "install"]


def test_what_old_lists_do_not_have_is_tried_again_with_new_ones(here: Here) -> None:
    here.put("fails", "once\n")
    here.apply(Package(("jq",)))
    assert calls(here) == ["install", "update", "install"]


@pytest.mark.parametrize("failures", [0, 1])
def test_what_apt_did_not_bring_is_named_although_it_ended_well(here: Here, failures: int) -> None:
    here.put("lost")
    here.put("fails", "once\n" * failures)
    with pytest.raises(StepFailed, match=r"^apt ended without an error, but these are not installed: jq$"):
        here.apply(Package(("jq",)))


def test_a_failure_is_told_by_the_first_line_that_says_why(here: Here) -> None:
    here.put("fails", "once\nagain\n")
    with pytest.raises(StepFailed, match=r"^E: Unable to locate package jq$"):
        here.apply(Package(("jq",)))


# dpkg-query(1): the second letter is the state, the third says that a package has to be installed again.
@pytest.mark.parametrize("state", ["iHR", "iH ", "iU ", "iF ", "iW ", "it ", "iiR", "rH "])
def test_packages_that_dpkg_left_in_the_middle_are_named_with_the_way_out(here: Here, state: str) -> None:
    here.put("fails", "once\nagain\n")
    here.put("status", f"ii adduser\nhi held-tool\nrc old-tool\n{state}one\nii jq\n{state}two\nun never\n")
    with pytest.raises(StepFailed, match=f"^dpkg was interrupted at one two: {WAY_OUT}$"):
        here.apply(Package(("jq",)))
