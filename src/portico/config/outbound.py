"""`outbound`: whom Portico itself may call. Routes to your upstreams are not meant: those you have named one by one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field

from portico import contracts
from portico.config.base import Several, Strict
from portico.config.scalars import Parse, choice
from portico.config.substitute import Finding

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9.]+|0[xX].*", re.ASCII)  # no name: an address, and one that is written oddly


def _destination(value: Any) -> str:
    if isinstance(value, str):
        try:
            return str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            if len(value) <= 253 and _HOST.fullmatch(value) and not _DIGITS.fullmatch(value):
                return value.lower()
    raise ValueError("must be an address, a network such as 10.0.0.0/8, or a host such as example.com or *.example.com")


def _proxy(value: Any) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts and parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/"):
            return str(value)
    except ValueError:
        pass
    raise ValueError("must be http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT")


Destination = Annotated[str, Parse(_destination, {"type": "string"}, text=True)]


class Outbound(Strict):
    """Calls to addresses that users supply, and to what the configuration names: webhooks, keys of issuers."""

    mode: Annotated[str, choice("public", "allow_list", "none")] = Field(
        default="public",
        description="public: every public address; allow_list: only what `allow` names; none: nothing",
    )
    allow: Several[Destination] = Field(
        default_factory=list, description="Networks and hosts that may be called, also private ones"
    )
    deny: Several[Destination] = Field(
        default_factory=list, description="Networks and hosts that may not be called, whatever `allow` says"
    )
    proxy: Annotated[str, Parse(_proxy, {"type": "string"}, text=True)] | None = Field(
        default=None, description="Forward proxy through which every call goes: http://HOST:PORT"
    )

    def check(self) -> Iterator[Finding]:
        if self.mode == "none" and self.allow:
            yield ("allow",), "goes with mode allow_list or public: none calls nobody"

    def plain(self) -> contracts.Outbound:
        return contracts.Outbound(self.mode, tuple(self.allow), tuple(self.deny), self.proxy or "")
