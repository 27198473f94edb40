"""What faults have in common: a host, an office with it, and a clean slate afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost


@pytest.fixture
def office(host: LabHost, tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "office")
    made.add(host, provision_roles=["files"])
    yield made
    host.check("rm -rf /var/lib/provision /srv/files /run/provision/jobs /run/provision/incoming")
