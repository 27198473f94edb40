"""The table of a guarded port: what the kernel gets, and when it has to get it again."""

from dataclasses import replace

import pytest

from provision.resources.base import Pending, Run
from provision.resources.file import File
from provision.resources.firewall import Firewall, Guarded, Loaded
from provision.resources.look import Found

WEB = Firewall((Guarded(8080, ("10.1.0.0/16", "fd00::12", "10.0.0.9")), Guarded(8081, ())), part="open-webui")
# Before conntrack (-200) and before Docker's published ports get another destination (-100).
RULES = f"""\
table inet provision_open_webui
delete table inet provision_open_webui
table inet provision_open_webui {{
    chain {WEB.mark} {{
    }}
    chain guard {{
        type filter hook prerouting priority -310; policy accept;
        iifname {{ "lo", "docker0" }} accept
        tcp dport 8080 ip saddr {{ 10.0.0.9, 10.1.0.0/16 }} accept
        tcp dport 8080 ip6 saddr {{ fd00::12 }} accept
        tcp dport 8080 drop
        tcp dport 8081 drop
    }}
}}
"""


def found(file: File) -> Found:
    """This very file."""
    return Found("file", file.mode, file.owner, file.group, sha256=file.digest)


THERE = Loaded(found(File(WEB.path, WEB.rules)), found(WEB.unit), loaded=True, enabled=True)


def test_what_is_let_in_and_that_nothing_else_is() -> None:
    assert WEB.rules == RULES


def test_what_is_there_and_loaded_is_left() -> None:
    assert WEB.plan(THERE, Pending()) is None


@pytest.mark.parametrize("lost", [replace(THERE, loaded=False), replace(THERE, enabled=False)], ids=["now", "at boot"])
def test_rules_that_do_not_count_now_or_after_a_boot_are_loaded(lost: Loaded) -> None:
    change = WEB.plan(lost, Pending())
    assert change is not None
    assert change.action == "load"
    *_, checked, _, last = WEB.steps(change)
    assert isinstance(checked, Run) and isinstance(last, Run)
    assert checked.script.splitlines() == [
        f"nft -c -f {WEB.path}.checked || exit 1",
        f"mv -f {WEB.path}.checked {WEB.path}",
    ]
    unit = "provision-firewall-open-webui.service"
    assert last.script.split(" && ") == [
        "systemctl daemon-reload",
        f"systemctl --quiet enable {unit}",
        f"systemctl restart {unit}\n",
    ]


def test_the_kernel_is_asked_for_these_very_rules() -> None:
    other = replace(WEB, ports=(Guarded(8080, ("10.0.0.9",)),))
    assert WEB.mark != other.mark
    for one in (WEB, other):
        assert f"nft list chain inet provision_open_webui {one.mark} " in one.probe()


def test_the_rules_count_before_anything_listens() -> None:
    unit = str(WEB.unit.content)
    assert "Before=network-pre.target docker.service ollama.service\n" in unit
    assert "WantedBy=sysinit.target\n" in unit
