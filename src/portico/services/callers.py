"""Who calls a service, from where, and what they may do: asked of the request that the edge has signed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Coroutine, Iterable
from functools import lru_cache
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request

from portico.identity.principal import Principal
from portico.services.problems import Refused

HOPS: Final = 32  # entries of X-Forwarded-For that are looked at
LONGEST_ENTRY: Final = 80  # characters of one
HOME: Final = "default"  # the tenant whose administrators may name other tenants
ACROSS: Final = "tenants:write"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def caller(request: Request) -> Principal:
    """The caller; Refused (401) when nobody has shown credentials."""
    principal = request.state.principal
    if not isinstance(principal, Principal):
        raise Refused(401)
    return principal


def needs(permission: str) -> Callable[[Request], Coroutine[Any, Any, Principal]]:
    """A dependency: the caller, who has `permission`. The edge has asked for it already; this is the second lock.

    It waits for nothing, but is a coroutine all the same: FastAPI gives plain functions to a thread, which costs more
    than all the rest of a small request.
    """

    async def permitted(request: Request) -> Principal:
        principal = caller(request)
        if not principal.allows(permission):
            detail = f"the caller lacks the permission {permission}"
            raise Refused(403, "permission_missing", detail, "ask an administrator for it")
        return principal

    return permitted


async def _calling(request: Request) -> Principal:
    return caller(request)


Caller = Annotated[Principal, Depends(_calling)]


def scope(principal: Principal, asked: str | None) -> str:
    """The tenant that the caller acts in: its own, or `asked` where it may act for others; else Refused (403)."""
    if asked is None or asked == principal.tenant:
        return principal.tenant
    if not across(principal):
        detail = "the caller may not act for another tenant"
        hint = f"leave `tenant` out; only the tenant {HOME} may have {ACROSS}"
        raise Refused(403, "other_tenant", detail, hint)
    return asked


def sight(principal: Principal) -> str | None:
    """The tenant whose rows the caller may see by their id; None: every tenant's."""
    return None if across(principal) else principal.tenant


def across(principal: Principal) -> bool:
    """Whether the caller may act for other tenants: one of the tenant `default` that has `tenants:write`."""
    return principal.tenant == HOME and principal.allows(ACROSS)


def covers(principal: Principal, grants: Iterable[str]) -> bool:
    """Whether the caller holds all of `grants`, patterns included: nobody hands on more than they have."""
    held = [grant.split(":", 2) for grant in principal.permissions if grant != "*"]
    all_of_it = "*" in principal.permissions
    return all(all_of_it or (grant != "*" and _covered(grant.split(":", 2), held)) for grant in grants)


def _covered(grant: list[str], held: list[list[str]]) -> bool:
    # One without an instance covers every instance; one with an instance says nothing about the permission without.
    return any(
        len(each) <= len(grant) and all(part in ("*", grant[at]) for at, part in enumerate(each)) for each in held
    )


def address(request: Request, proxies: tuple[str, ...]) -> str:
    """The client's address as the edge saw it: the last of X-Forwarded-For that no trusted proxy has. "": this machine.

    An IPv6 address stands for its /64, which is what one subscriber has.
    """
    return seen_address(request.headers.get("x-forwarded-for", ""), proxies)


def seen_address(forwarded: str, proxies: tuple[str, ...]) -> str:
    """`address` of the value of X-Forwarded-For."""
    networks = _networks(proxies)
    found = ""
    for entry in reversed(forwarded.split(",")[-HOPS:]) if forwarded else ():
        parsed = _plain(entry.strip()) if len(entry) <= LONGEST_ENTRY else None
        if parsed is None:
            break
        found, mapped = parsed
        if not any(mapped.version == network.version and mapped in network for network in networks):
            break
    return found


@lru_cache(16)
def _networks(proxies: tuple[str, ...]) -> list[Network]:
    return [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]


@lru_cache(4096)
def _plain(entry: str) -> tuple[str, Address] | None:
    """An entry as the edge reads it: with a port or without. "" is a proxy on a Unix socket, which is this machine."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(entry or "127.0.0.1")
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return (str(mapped) if mapped.version == 4 else str(ipaddress.ip_network((mapped, 64), strict=False))), mapped


def secure(request: Request) -> bool:
    """Whether the client speaks https."""
    return bool(request.headers.get("x-forwarded-proto", "") == "https")


def same_origin(request: Request) -> bool:
    """Whether a page of this very host sent the request: its Origin (RFC 6454) says so. Without an Origin: no."""
    origin = request.headers.get("origin", "")
    try:
        parts = urlsplit(origin)
    except ValueError:  # http://[ and the like
        return False
    if not parts.netloc:  # none, or null
        return False
    host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
    scheme = "https" if secure(request) else "http"
    return parts.scheme == scheme and _authority(parts.netloc, scheme) == _authority(host, scheme)


def _authority(text: str, scheme: str) -> str:
    return text.lower().removesuffix(":443" if scheme == "https" else ":80")
