"""What images of twins are made of, and what things are called."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.twin.apt import translated
from provision.twin.names import host_name, object_name, twin_id
from provision.twin.recipes import DOCKERFILES, RECIPES, Recipe, context, is_reference, tag

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
    recipe = RECIPES[name]
    files = context(recipe, {"office.crt": b"x"})
    assert files["Dockerfile"].startswith(b"#")
    assert tag(name, recipe, files) == tag(name, recipe, context(recipe, {"office.crt": b"x"}))
    assert tag(name, recipe, files) != tag(name, recipe, context(recipe, {"office.crt": b"y"}))


def test_any_other_image_is_named_with_its_tag() -> None:
    references = ("ubuntu:24.04", "quay.io/centos/centos:stream10", "mirror.office.lan:5000/rocky:9", "a/b")
    assert all(is_reference(name) for name in references)
    assert not any(
        is_reference(name) for name in ("debian-13", "debian-31", "", ":x", "-v:/x", "a b:1", "Ubuntu:24.04")
    )
    recipe = Recipe("sha256:1", DOCKERFILES["redhat"])
    assert tag("quay.io/centos/centos:stream10", recipe, {}).startswith(
        "provision-twin/quay.io-centos-centos-stream10:"
    )
    assert tag("a/b", recipe, {}) != tag("a/b", replace(recipe, base="sha256:2"), {})


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
