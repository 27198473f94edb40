"""What images of twins are made of, and what things are called."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.twin.apt import translated
from provision.twin.names import host_name, object_name, twin_id
from provision.twin.recipes import RECIPES, context, tag

DEB822 = """\
Types: deb
URIs: http://mirror.office.lan/debian
Suites: bookworm bookworm-updates
Components: main contrib

Types: deb
URIs: http://mirror.office.lan/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_is_named_by_all_that_it_is_made_of(name: str) -> None:
    files = context(name, {"office.crt": b"x"})
    assert files["Dockerfile"].startswith(b"#")
    assert tag(name, files) == tag(name, context(name, {"office.crt": b"x"}))
    assert tag(name, files) != tag(name, context(name, {"office.crt": b"y"}))


def test_sources_of_another_suite_are_those_of_this_machine() -> None:
    found = [source.line() for source in translated("bookworm", "trixie", [(".sources", DEB822)])]
    assert found == [
        "deb http://mirror.office.lan/debian trixie main contrib",
        "deb http://mirror.office.lan/debian trixie-updates main contrib",
        "deb http://mirror.office.lan/debian-security trixie-security main",
    ]
    one_line = "deb [signed-by=/x] http://mirror/debian bookworm main\ndeb http://other/repo stable main\n"
    assert [s.line() for s in translated("bookworm", "bookworm", [(".list", one_line)])] == [
        "deb http://mirror/debian bookworm main"
    ]
    assert translated("bookworm", "trixie", [(".list", "deb http://other/repo stable main\n")]) == []


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_two_hosts_never_share_a_container(one: str, other: str) -> None:
    assert (object_name("t", one) == object_name("t", other)) == (one == other)
    assert len(host_name(one)) <= 63


def test_two_checkouts_of_one_fleet_do_not_meet(tmp_path: Path) -> None:
    assert twin_id(tmp_path / "a" / "inventory.yml") != twin_id(tmp_path / "b" / "inventory.yml")
