"""What must stay true of this fleet, whoever edits the inventory. Needs no server: `pytest tests/test_fleet.py`.

Tests of the servers themselves stand in files of their own: `def test_x(host)` is run on every server by `provision
verify`, and on every twin by `provision twin test`.
"""

from pathlib import Path

from provision.inventory import load
from provision.roles import RoleSchemas

INVENTORY = Path(__file__).parents[1] / "inventory" / "@NAME@.yml"
FLEET = load(INVENTORY, RoleSchemas(INVENTORY), need_secrets=False)


def test_ollama_is_open_to_the_web_servers_only() -> None:
    """Ollama has no login: whoever reaches its port can use it, and delete models."""
    for host in FLEET.match("inference"):
        ollama = host.settings["ollama"].model_dump()
        assert ollama["listen"] == "loopback" or ollama["allow"] == ["web"], host.name


def test_people_cannot_sign_themselves_up() -> None:
    """Accounts are made by the administrator."""
    for host in FLEET.match("web"):
        assert host.settings["open_webui"].model_dump()["signup"] is False, host.name
