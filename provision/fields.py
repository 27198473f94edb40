"""Types of settings that several roles use."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator

from provision.values import Reference

GroupName = Annotated[str, Reference(("group",))]
HostOrGroup = Annotated[str, Reference(("group", "host"))]
Visitor = Annotated[str, Reference(("group", "host"), first=False)]


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network or an address such as 10.1.0.0/16") from None
    return text


Network = Annotated[str, AfterValidator(_network)]
