"""What the gateway accepts, nginx frames alike: every accepted request of the corpus goes through both to one upstream.

Needs nginx (Debian: nginx-light); without it these tests fail.

A request for `PROBE` follows each case on its connection, so that both also agree where the case ends. Compared is what
arrives at the upstream: how many requests, their methods, paths, queries, bodies, and the host that a server is chosen
by. Paths are compared as nginx's `$uri` has them: percent-decoded, runs of slashes as one, dot segments resolved. What
nginx sees otherwise is in `OTHERWISE`, by name and with the reason; a name that is no longer needed there is an error.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import pytest
from tests.conformance.http1.corpus import Case, load
from tests.conformance.http1.driver import Reading, read_requests

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import read_all
from portico.testing.harness import free_port
from portico.testing.upstream import Request, wait_for

ACCEPTED: Final = [case for case in load("requests") if not case.status]
PROBE: Final = b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
SILENCE: Final = 1.0  # seconds after which nothing more comes for a request that is not complete

OTHERWISE: Final[dict[str, str]] = {
    "asterisk": "we answer OPTIONS * ourselves; nginx refuses it",
    "absolute-options-without-path": "it is OPTIONS * (RFC 9112 3.2.4), which we answer; nginx makes it OPTIONS /",
    "lower-case-method-is-another-method": "nginx knows methods in capitals only",
    "method-of-odd-token-characters": "nginx knows methods of capitals, - and _ only",
    "values-are-stripped": "nginx refuses a tab before the value of Host",
    "dot-dot-above-the-root": "nginx refuses what RFC 3986 5.2.4 resolves to the root",
    "only-dot-dot": "nginx refuses what RFC 3986 5.2.4 resolves to the root",
    "dot-dot-after-double-slash": "nginx takes a run of slashes for one before it resolves dot segments",
    "empty-query": "nginx counts an empty query as none; what it passes on keeps the ?",
}

CONFIG: Final = """
daemon off; master_process off; pid %(folder)s/nginx.pid; error_log %(folder)s/error.log;
events { worker_connections 256; }
http {
    access_log off; client_max_body_size 16m; underscores_in_headers on;
    client_header_buffer_size 64k; large_client_header_buffers 4 64k;
    client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/proxy; fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi; scgi_temp_path %(folder)s/scgi;
    upstream recorder { server 127.0.0.1:%(upstream)d; keepalive 8; }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://recorder; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header X-Seen-Path $uri; proxy_set_header X-Seen-Query $is_args$args;
            proxy_set_header X-Seen-Host $host;
        }
    }
}
"""


class Seen(NamedTuple):
    """One request at the upstream."""

    method: str
    path: bytes
    query: str
    body: bytes


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    config = {
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "up"}],
    }
    with GatewayHarness(config) as made:
        yield made


@pytest.fixture(scope="module")
def nginx(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """nginx, driven as a gateway is: nothing but its port is asked of the harness."""
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    (folder / "nginx.conf").write_text(CONFIG % {"folder": folder, "upstream": upstream.port, "port": port})
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    made = GatewayHarness()
    made.port = port
    with subprocess.Popen(command, stderr=(folder / "stderr").open("wb")) as process:
        try:
            wait_for(lambda: listens(made, process, folder), 10)
            yield made
        finally:
            process.terminate()


def listens(nginx: GatewayHarness, process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether nginx takes connections; its complaint when it has ended."""
    assert process.poll() is None, (folder / "stderr").read_text()
    try:
        nginx.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def ask(through: GatewayHarness, upstream: FakeUpstream, case: Case) -> list[Request]:
    """The case and then the probe, on one connection: what arrives at the upstream."""
    upstream.requests.clear()
    with through.connect() as sock:
        sock.sendall(case.raw + PROBE)
        read_all(sock, SILENCE)
    return list(upstream.requests)


def from_us(request: Request) -> Seen:
    """A request that came through the gateway, with its path as nginx would call it."""
    path, mark, query = request.target.partition("?")
    decoded = re.sub(rb"/+", b"/", unquote_to_bytes(path.encode("latin-1")))
    return Seen(request.method, decoded, mark + query, request.body)


def from_nginx(request: Request) -> Seen:
    path = (request.header("X-Seen-Path") or "").encode("latin-1")
    return Seen(request.method, path, request.header("X-Seen-Query") or "", request.body)


def hosts(reading: Reading) -> list[str]:
    """The host that each complete message is for, as the gateway's own reader has it; empty where none was given."""
    return [message.head["host"].decode("latin-1") for message in reading.messages if message.complete]


def difference(gateway: GatewayHarness, nginx: GatewayHarness, upstream: FakeUpstream, case: Case) -> str:
    """How the two differ; empty when they don't."""
    ours = [from_us(request) for request in ask(gateway, upstream, case)]
    answers = ask(nginx, upstream, case)
    theirs = [from_nginx(request) for request in answers]
    if ours != theirs:
        return f"through the gateway {ours}, through nginx {theirs}"
    for host, request in zip(hosts(read_requests([case.raw + PROBE])), answers, strict=False):
        if host and host != request.header("X-Seen-Host"):
            return f"for {host}, at nginx for {request.header('X-Seen-Host')}"
    return ""


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_accepted_requests(gateway: GatewayHarness, nginx: GatewayHarness, upstream: FakeUpstream, case: Case) -> None:
    found = difference(gateway, nginx, upstream, case)
    if case.name in OTHERWISE:
        assert found, f"nginx agrees by now: {OTHERWISE[case.name]}"
    else:
        assert not found


def test_every_exception_is_a_case_of_the_corpus() -> None:
    assert OTHERWISE.keys() <= {case.name for case in ACCEPTED}


def test_a_gateway_that_frames_otherwise_would_be_seen(
    gateway: GatewayHarness, nginx: GatewayHarness, upstream: FakeUpstream
) -> None:
    """The probe shows it: nginx takes a bare LF for the end of a line, so it finds a request where we find a body."""
    case = Case("told-wrong", "", raw=b"GET /a HTTP/1.1\r\nHost: a\nContent-Length: 3\r\n\r\nabc")
    assert difference(gateway, nginx, upstream, case)
