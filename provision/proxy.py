"""The office's proxy, which the role `base` declares, for the roles whose services use it."""

from provision.values import sha256
from provision.view import HostView

PROXY_FILE = "/etc/provision/proxy.env"
"""KEY=value lines, 0600: for `EnvironmentFile=` of units and for downloads. Passwords stand nowhere else."""


def proxy_mark(host: HostView) -> str:
    """A digest of the proxy, so that what uses it starts anew with another one; "" without one.

    A password is not in it: the mark stands where all can read it.
    """
    base = host.settings.get("base")
    return sha256(repr(base.proxy.model_dump()))[:12] if base is not None and base.proxy is not None else ""
