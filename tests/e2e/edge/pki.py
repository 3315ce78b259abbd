"""Certificates for tests, made with `openssl` in a temporary folder."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

from portico.testing import GatewayHarness
from portico.testing.client import Reader, request_bytes

Pair = tuple[Path, Path]  # certificate and key

METRICS: list[dict[str, Any]] = [{"host": "127.0.0.1", "port": 0, "metrics": True}]  # a last listener, for `count`


class Authority:
    """A certificate authority of its own, in `folder`."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder = folder
        self.stem = name.replace(" ", "-")
        self.cert = folder / f"{self.stem}.pem"
        self.key = folder / f"{self.stem}.key"
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"),
            *("-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"),
            *("-keyout", self.key, "-out", self.cert),
        )

    def issue(self, stem: str, *names: str, subject: str = "", days: int = 30) -> Pair:
        """A certificate for `names` (such as `DNS:a.example`) and its key; negative `days`: expired."""
        cert, key, request = (self.folder / f"{stem}.{kind}" for kind in ("pem", "key", "csr"))
        openssl(
            *("req", "-new", "-utf8", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", subject or f"/O=Tests/CN={stem}", "-keyout", key, "-out", request),
        )
        extensions = self.folder / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\n" if names else "basicConstraints=CA:FALSE\n")
        when = ["-days", str(days)]
        if days < 0:
            when = ["-not_before", "20200101000000Z", "-not_after", "20200201000000Z"]
        self.sign(request, extensions, cert, when)
        return cert, key

    def sign(self, request: Path, extensions: Path, cert: Path, when: list[str]) -> None:
        """`openssl x509` can't sign into the past; `openssl ca` can."""
        if when[0] == "-days":
            openssl(
                *("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial"),
                *("-extfile", extensions, "-out", cert, *when),
            )
            return
        config = self.folder / "ca.cnf"
        config.write_text(
            "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\n"
            "default_md = sha256\npolicy = p\nunique_subject = no\n"
            "[p]\ncommonName = supplied\norganizationName = optional\n"
        )
        (self.folder / "index.txt").touch()
        start, end = when[1], when[3]
        openssl(
            *("ca", "-batch", "-notext", "-config", config, "-cert", self.cert, "-keyfile", self.key, "-in", request),
            *("-extfile", extensions, "-startdate", start, "-enddate", end, "-out", cert),
            folder=self.folder,
        )

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A client's context that believes this authority, and shows the certificate of `pair`."""
        context = ssl.create_default_context(cafile=str(self.cert))
        if pair is not None:
            context.load_cert_chain(*pair)
        return context


def server_context(pair: Pair, clients: Path | None = None) -> ssl.SSLContext:
    """A server's context; with `clients`, it wants certificates of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


def openssl(*args: object, folder: Path | None = None) -> None:
    """Run the command; its complaint when it fails."""
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr


def files(pair: Pair) -> dict[str, str]:
    """A certificate and its key as a configuration names them."""
    return {"cert": str(pair[0]), "key": str(pair[1])}


def connect(gateway: GatewayHarness, context: ssl.SSLContext, name: str | None = "a.example") -> ssl.SSLSocket:
    """A TLS connection to the gateway, as to `name`."""
    return context.wrap_socket(gateway.connect(), server_hostname=name)


def install(pair: Pair, places: Pair) -> None:
    """Put a certificate and its key where others were."""
    for source, place in zip(pair, places, strict=True):
        place.write_bytes(source.read_bytes())


def shown(sock: ssl.SSLSocket) -> str:
    """The common name in the certificate that the other side has shown."""
    told = sock.getpeercert()
    assert told is not None
    return str(dict(pair[0] for pair in told["subject"])["commonName"])  # type: ignore[misc]


def count(gateway: GatewayHarness, name: str) -> float:
    """A counter of the edge, through the listener that shows metrics to anyone."""
    port = int(gateway.status()["listeners"][-1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(request_bytes("GET", "/metrics", "x"))
        text = Reader(sock).answer().body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}_total "))
