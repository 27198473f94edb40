"""A host as its facts describe it, for tests to which any will do; others by `dataclasses.replace`."""

from provision.facts.model import OS, Identity

DEBIAN = OS("debian", "13", "trixie", "Debian 13", "debian")
SERVER = Identity("server", DEBIAN, "amd64", "6.12", "systemd", "none", "apt", "cpu", 2, 8 << 30)
"""Debian 13 without a GPU."""
