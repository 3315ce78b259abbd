"""Opens one connection to a target."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from portico import contracts
from portico.edge.secure import SecureConnection
from portico.edge.tls import ClientTls, TlsRefused, reason


async def dial(
    loop: Any,
    target: contracts.Target,
    protocol: Callable[[], object],
    tls: ClientTls | None,
    scratch: memoryview,
    address: str = "",
) -> object:
    """The protocol of a new connection; OSError when none came about. The caller bounds the time.

    `address` is one of those that the target's name has; when it is empty, the name is looked up.
    """
    if target.path:
        pair = await loop.create_unix_connection(protocol, target.path)
    elif target.scheme == "https":
        return await secured(loop, target, protocol(), tls, scratch, address)
    else:
        pair = await loop.create_connection(protocol, address or target.host, target.port)
    return pair[1]


async def secured(
    loop: Any, target: contracts.Target, app: object, tls: ClientTls | None, scratch: memoryview, address: str
) -> object:
    """`app` over TLS. TlsRefused when the handshake fails; without settings for TLS nothing is sent at all."""
    if tls is None:
        raise TlsRefused("upstream_tls", "the upstream has no settings for TLS")
    try:
        connection = SecureConnection(loop, app, tls.context, scratch, False, tls.name or target.host)
    except ValueError:
        raise TlsRefused("upstream_certificate", "no certificate can be for the upstream's host name") from None
    try:
        await loop.create_connection(connection.itself, address or target.host, target.port)
        await connection.ready
    except ssl.SSLCertVerificationError as error:
        raise TlsRefused("upstream_certificate", f"the upstream's certificate was refused: {reason(error)}") from None
    except ssl.SSLError as error:
        raise TlsRefused("upstream_tls", f"the TLS handshake with the upstream failed: {reason(error)}") from None
    except BaseException:
        connection.abort()
        raise
    return app
