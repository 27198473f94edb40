"""What the author of a role or a resource may use. Everything else may change.

The names are loaded when they are asked for: `provision --help` needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provision.facts.model import GPU, OS, Identity
    from provision.fields import GroupName, HostOrGroup
    from provision.resources.base import (
        Change,
        Diff,
        Docker,
        Job,
        Pending,
        Progress,
        Reboot,
        Resource,
        Run,
        Section,
        Step,
        Upload,
    )
    from provision.resources.container import Container, Health, Mount, Port
    from provision.resources.docker_config import DockerConfig
    from provision.resources.endpoint import Endpoint
    from provision.resources.file import Absent, Directory, File, Link
    from provision.resources.image import Image
    from provision.resources.network import Network
    from provision.resources.package import Package
    from provision.resources.release import Release
    from provision.resources.repository import Repository
    from provision.resources.service import Service
    from provision.resources.user import Group, User
    from provision.resources.volume import Volume
    from provision.values import Secret, quote
    from provision.view import HostView, OpenPort, Peer

__all__ = [
    "GPU",
    "OS",
    "Absent",
    "Change",
    "Container",
    "Diff",
    "Directory",
    "Docker",
    "DockerConfig",
    "Endpoint",
    "File",
    "Group",
    "GroupName",
    "Health",
    "HostOrGroup",
    "HostView",
    "Identity",
    "Image",
    "Job",
    "Link",
    "Mount",
    "Network",
    "OpenPort",
    "Package",
    "Peer",
    "Pending",
    "Port",
    "Progress",
    "Reboot",
    "Release",
    "Repository",
    "Resource",
    "Run",
    "Secret",
    "Section",
    "Service",
    "Step",
    "Upload",
    "User",
    "Volume",
    "quote",
]

_MODULES = {
    "facts.model": "GPU OS Identity",
    "fields": "GroupName HostOrGroup",
    "resources.base": "Change Diff Docker Job Pending Progress Reboot Resource Run Section Step Upload",
    "resources.container": "Container Health Mount Port",
    "resources.docker_config": "DockerConfig",
    "resources.endpoint": "Endpoint",
    "resources.file": "Absent Directory File Link",
    "resources.image": "Image",
    "resources.network": "Network",
    "resources.package": "Package",
    "resources.release": "Release",
    "resources.repository": "Repository",
    "resources.service": "Service",
    "resources.user": "Group User",
    "resources.volume": "Volume",
    "values": "Secret quote",
    "view": "HostView OpenPort Peer",
}
_HOMES = {name: f"provision.{module}" for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'provision' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
