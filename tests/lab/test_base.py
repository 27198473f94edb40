"""The role base on a real host: an office's own CA is trusted, and a time daemon that is there is kept."""

from pathlib import Path

import pytest

from tests.lab.cli import Office
from tests.lab.hosts import LabHost
from tests.lab.mirror import mirror, signed_certificate


@pytest.fixture
def office(host: LabHost, tmp_path: Path) -> Office:
    made = Office(tmp_path / "office")
    made.add(host, provision_roles=["base"])
    return made


def test_a_time_daemon_that_is_there_is_kept_and_no_other_installed(office: Office, host: LabHost) -> None:
    host.check("apt-get install -qq -y --no-install-recommends chrony && systemctl disable chrony")
    applied = office.check("apply", "-v")
    assert "enable service:chrony" in applied
    query = "dpkg-query -W -f '${Package} ${db:Status-Status}\n' chrony 'systemd-time*' | grep ' installed'"
    assert host.check(query) == "chrony installed\n"
    assert host.check("systemctl is-enabled chrony").strip() == "enabled"
    assert "0 changed" in office.check("apply")


def test_a_server_that_the_offices_own_ca_signed_is_trusted(office: Office, host: LabHost, tmp_path: Path) -> None:
    both, authority = signed_certificate(tmp_path)
    (office.folder / "ca").mkdir()
    (office.folder / "ca" / "office.crt").write_bytes(authority.read_bytes())
    with mirror(certificate=both) as served:
        served.files = {"/hello": b"from the office\n"}
        ask = f"curl -sS --noproxy '*' {served.url}/hello"
        before = host.exec(ask)
        assert before.rc == 60, before
        office.variables["base"] = {"ca_certificates": ["ca/office.crt"]}
        assert "trust   ca:office" in office.check("plan").replace("trust  ca", "trust   ca")
        office.check("apply")
        assert host.check(ask) == "from the office\n"
    assert "0 changed" in office.check("apply")
    host.check("rm /etc/ssl/certs/office.pem")
    assert "not in the system's store" in office.check("plan")


def test_a_certificate_that_is_not_there_is_one_clear_line(office: Office) -> None:
    office.variables["base"] = {"ca_certificates": ["ca/nowhere.crt"]}
    result = office.run("plan")
    assert result.rc == 3
    assert "the certificate ca/nowhere.crt is neither beside the inventory nor in its templates" in result.out
    assert "Traceback" not in result.out + result.err
