"""TLS contexts of listeners and upstreams, made of PEM files; what is wrong with a file is one sentence.

TLS 1.2 and 1.3 (RFC 8446), forward secrecy and authenticated ciphers only, no renegotiation, ALPN `http/1.1`.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

from portico.contracts import KeyPair, Tls, Upstream, UpstreamTls
from portico.errors import TlsError
from portico.identity.certificates import Certificate, read_der, read_pem

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good
PROTOCOLS: Final = ["http/1.1"]
EXPIRES_SOON: Final = 14 * 86400.0
DEMANDS: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
MISMATCHES: Final = frozenset(["KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"])
Path = tuple[str | int, ...]


class TlsEnded(ConnectionError):
    """The connection ended without the peer's close_notify: what came may be a part only (RFC 8446 6.1)."""


class TlsRefused(OSError):
    """TLS with a target failed; `code` says whether a certificate was the cause, the message which check failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ServerTls:
    """A listener's contexts: the first certificate's, and those that the name a client asks for leads to."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.names: dict[str, ssl.SSLContext] = {}  # "example.org", "*.example.org"

    def choose(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Answer with the certificate for `name` (SNI, RFC 6066 3); an unknown name gets the first one."""
        if name is not None:
            host = name.lower().rstrip(".")
            found = self.names.get(host) or self.names.get("*." + host.partition(".")[2])
            if found is not None:
                tls.context = found


class ClientTls:
    """How connections to an upstream are secured; `name` is what its certificate must be for, None: the host."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self.context = context
        self.name = name


class Contexts:
    """Makes contexts and keeps them as long as neither settings nor files change.

    `begin`, then ask for all that a plan needs, then `commit`: what was not asked for is dropped.
    """

    def __init__(self) -> None:
        self.kept: dict[Any, Any] = {}
        self.asked: dict[Any, Any] = {}

    def begin(self) -> None:
        self.asked = {}

    def commit(self) -> None:
        self.kept = self.asked

    def server(self, spec: Tls) -> ServerTls | None:
        """A listener's TLS, None when it has none. TlsError when a file can't be used."""
        if not spec.on:
            return None
        found: ServerTls = self._once(("server", spec), list(files(spec)), lambda: server_tls(spec))
        return found

    def client(self, upstream: Upstream) -> ClientTls | None:
        """An upstream's TLS, None when no target wants it. TlsError when a file can't be used."""
        if all(target.scheme != "https" for target in upstream.targets):
            return None
        spec = upstream.tls
        used = [file for file in (spec.ca or system_roots(), spec.cert, spec.key) if file]
        context: ssl.SSLContext = self._once(
            ("client", spec.verify, spec.ca, spec.cert, spec.key), used, lambda: client_context(spec)
        )
        return ClientTls(context, spec.server_name)

    def _once(self, what: tuple[Any, ...], used: list[str], make: Callable[[], Any]) -> Any:
        key = (what, tuple(stamp(file) for file in used))
        made = self.asked.get(key) or self.kept.get(key) or make()
        self.asked[key] = made
        return made


def files(spec: Tls) -> Iterator[str]:
    """Every file that a listener's TLS is made of."""
    yield from (file for _, pair in pairs(spec) for file in (pair.cert, pair.key) if file)
    if spec.client_ca:
        yield spec.client_ca


def pairs(spec: Tls) -> Iterator[tuple[Path, KeyPair]]:
    """The certificates in order, the first one first, each with its place below `tls`."""
    if spec.cert:
        yield (), KeyPair(spec.cert, spec.key)
    for index, pair in enumerate(spec.certificates):
        yield ("certificates", index), pair


def stamp(file: str) -> tuple[Any, ...]:
    """Changes whenever the file does."""
    try:
        found = os.stat(file)
    except OSError:
        return (file,)
    return file, found.st_ino, found.st_mtime_ns, found.st_size


def system_roots() -> str:
    """The file or folder that the system's authorities come from."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or ""


def server_tls(spec: Tls) -> ServerTls:
    """A listener's contexts. TlsError when a file can't be used."""
    made: ServerTls | None = None
    for path, pair in pairs(spec):
        context = server_context(spec)
        certificate = load_pair(context, path, pair)
        if made is None:
            made = ServerTls(context)
        for host in certificate.hosts:
            made.names.setdefault(host, context)
    assert made is not None
    made.context.sni_callback = made.choose
    return made


def server_context(spec: Tls) -> ssl.SSLContext:
    """A listener's context without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    harden(context)
    context.set_ciphers(CIPHERS)
    context.verify_mode = DEMANDS[spec.client_auth]
    if spec.client_ca:
        load_authorities(context, ("client_ca",), spec.client_ca)
    return context


def client_context(spec: UpstreamTls) -> ssl.SSLContext:
    """An upstream's context. TlsError when a file can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    harden(context)
    if not spec.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca:
        load_authorities(context, ("ca",), spec.ca)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # an intermediate will do, or the certificate
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if spec.cert:
        load_pair(context, (), KeyPair(spec.cert, spec.key))
    return context


def harden(context: ssl.SSLContext) -> None:
    """What holds for every connection."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)


def load_pair(context: ssl.SSLContext, path: Path, pair: KeyPair) -> Certificate:
    """Load a certificate chain and its key; what the certificate says."""
    certificate = certificate_in((*path, "cert"), pair.cert)
    holder = (*path, "key") if pair.key else (*path, "cert")
    file = pair.key or pair.cert
    text = read(holder, file)
    if "PRIVATE KEY-----" not in text:
        raise TlsError(holder, f"{file} holds no private key in PEM form")
    try:
        context.load_cert_chain(pair.cert, pair.key, password=no_passphrase)
    except EncryptedKey:
        raise TlsError(holder, f"{file} is encrypted; nobody is there to ask for its passphrase") from None
    except ssl.SSLError as error:
        if error.reason in MISMATCHES:
            raise TlsError(holder, f"{file} is not the key of the certificate in {pair.cert}") from None
        raise TlsError((*path, "cert"), f"{pair.cert} and {file} can't be used: {reason(error)}") from None
    return certificate


def certificate_in(path: Path, file: str) -> Certificate:
    """The first certificate of a PEM file."""
    try:
        return read_pem(read(path, file))
    except ValueError as error:
        raise TlsError(path, f"{file} {error}") from None


def load_authorities(context: ssl.SSLContext, path: Path, file: str) -> None:
    """Believe the certificates of a PEM file."""
    read(path, file)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        raise TlsError(path, f"{file} holds no certificates in PEM form, or damaged ones") from None


def read(path: Path, file: str) -> str:
    """The text of a PEM file."""
    try:
        with open(file, encoding="latin-1") as opened:
            return opened.read()
    except FileNotFoundError:
        raise TlsError(path, f"{file}: there is no such file") from None
    except OSError as error:
        raise TlsError(path, f"{file} can't be read: {error.strerror}") from None


class EncryptedKey(Exception):
    """A private key wants a passphrase."""


def no_passphrase() -> str:
    """Refuse to ask on a terminal."""
    raise EncryptedKey


def expiring(spec: Tls, now: float) -> Iterator[tuple[Path, str]]:
    """What the operator should know about the listener's certificates; `now` is in seconds since 1970."""
    for path, pair in pairs(spec):
        left = certificate_in((*path, "cert"), pair.cert).expires - now
        if left <= 0:
            yield (*path, "cert"), f"{pair.cert} has expired"
        elif left < EXPIRES_SOON:
            yield (*path, "cert"), f"{pair.cert} expires on {time.strftime('%Y-%m-%d', time.gmtime(now + left))}"


def presented(tls: ssl.SSLObject) -> Certificate | None:
    """The certificate that the peer has shown and that was verified, or None."""
    der = tls.getpeercert(True)
    if der is None:
        return None
    try:
        return read_der(der)
    except ValueError:
        return Certificate("", (), sha256(der).hexdigest(), 0.0)  # believed, though odd: the fingerprint tells it


def reason(error: BaseException) -> str:
    """Why TLS failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message).rstrip(".")
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).lower().replace("_", " ")
    return str(error) or type(error).__name__
