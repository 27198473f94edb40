"""What a server of Open WebUI consists of, beside its container: key, account, stored settings, who may use what."""

from provision.resources.open_webui.access import ModelAccess
from provision.resources.open_webui.admin import Admin
from provision.resources.open_webui.data_guard import DataGuard
from provision.resources.open_webui.instance import DATA, MOUNT, Instance, Stored
from provision.resources.open_webui.names import ENGINE, environment_mistake, setting_mistake
from provision.resources.open_webui.proof import Proof
from provision.resources.open_webui.secret_key import SecretKey
from provision.resources.open_webui.server import Server
from provision.resources.open_webui.settings import StoredSettings, has_secret

__all__ = [
    "DATA",
    "ENGINE",
    "MOUNT",
    "Admin",
    "DataGuard",
    "Instance",
    "ModelAccess",
    "Proof",
    "SecretKey",
    "Server",
    "Stored",
    "StoredSettings",
    "environment_mistake",
    "has_secret",
    "setting_mistake",
]
