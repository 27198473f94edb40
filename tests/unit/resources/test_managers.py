"""What lines of the package managers' output, recorded from the real ones, say to a reader."""

import pytest

from provision.resources.managers import manager
from provision.resources.package import Package, together

LINES = [
    ("apt", "Get:1 http://mirror.test trixie/main amd64 jq", "downloading trixie/main amd64 jq"),
    ("apt", "Reading package lists...", None),
    ("dnf", "  Installing       : jq-1.7.1-1.noarch                  1/2 ", "Installing : jq-1.7.1-1.noarch 1/2"),
    ("dnf", "(1/3): moby-engine.rpm  12 MB/s | 27 MB", "(1/3): moby-engine.rpm 12 MB/s | 27 MB"),
    ("dnf", "Waiting for the lock, held by process 35 (dnf)", "Waiting for the lock, held by process 35 (dnf)"),
    ("dnf", "Dependencies resolved.", None),
    ("dnf", " Installing:", None),
    ("zypper", "(2/2) Installing: zstd-1.5.5-1.noarch [..done]", "(2/2) Installing: zstd-1.5.5-1.noarch [..done]"),
    ("zypper", "Retrieving: gzip-1-1.noarch (lab) (1/2), 6 KiB", "Retrieving: gzip-1-1.noarch (lab) (1/2), 6 KiB"),
    ("zypper", "Loading repository data...", None),
    ("pacman", " zstd-1.5.5-1-any downloading...", "zstd-1.5.5-1-any downloading..."),
    ("pacman", "installing docker...", "installing docker..."),
    ("pacman", ":: Proceed with installation? [Y/n] ", None),
]


@pytest.mark.parametrize(("name", "line", "said"), LINES)
def test_progress(name: str, line: str, said: str | None) -> None:
    found = manager(name).progress(line)
    assert (found.text if found else None) == said


def test_packages_of_one_manager_are_asked_for_once() -> None:
    """Each question reads the manager's whole database."""
    asked = together(
        [Package(("curl|curl-minimal", "jq"), "dnf"), Package(("docker-ce", "jq"), "dnf"), Package(("jq",))]
    )
    curl, docker, jq = asked.values()
    assert curl == docker
    assert "curl curl-minimal jq docker-ce 2>/dev/null" in curl
    assert jq == Package(("jq",)).probe()
