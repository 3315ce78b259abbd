"""`portico webhooks listen`: a receiver for development, which prints what arrives and whether its signature fits."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any, Final

import typer

from portico.cli.options import Json

SECRET: Final = "PORTICO_WEBHOOK_SECRET"
MOST: Final = 1024 * 1024  # bytes of a body
WAIT: Final = 15.0  # seconds that a client has for its request


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="Webhooks while you develop.", no_args_is_help=True)
    group.command("listen")(listen)
    group.callback()(lambda: None)  # with one command only, typer would leave its name out
    return group


def listen(
    port: Annotated[int, typer.Option(metavar="PORT", help="Where to listen; 0: any free port.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    secret: Annotated[
        str, typer.Option(metavar="SECRET", envvar=SECRET, help="whsec_…; better in the environment than here.")
    ] = "",
    status: Annotated[int, typer.Option(metavar="STATUS", help="What is answered.", min=200, max=599)] = 200,
    as_json: Json = False,
) -> None:
    """Print every webhook that arrives, until Ctrl-C. With a secret each is verified, or answered 401."""
    from portico.errors import CommandError
    from portico.identity import webhooks

    os.environ.pop(SECRET, None)
    try:
        key = webhooks.read(secret) if secret else b""
    except ValueError as error:
        raise CommandError(f"--secret {error}") from None
    try:
        server = _Server((host, port), key, status, as_json)
    except OSError as error:
        raise CommandError(f"can't listen on {host}:{port}: {error.strerror}") from None
    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on http://{server.shown}/", file=sys.stderr, flush=True)
        server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], key: bytes, status: int, as_json: bool) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.key = key
        self.status = status
        self.as_json = as_json
        super().__init__(address, _Handler)

    @property
    def shown(self) -> str:
        host, port = self.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = WAIT

    def do_POST(self) -> None:
        """One webhook."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MOST:
            self.close_connection = True
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        problem = self._problem(body)
        self._tell(body, problem)
        self._answer(401 if problem else self.server.status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silence: what counts is printed."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _problem(self, body: bytes) -> str:
        from portico.identity import webhooks

        if not self.server.key:
            return ""
        message, stamp, signature = (
            self.headers.get(name, "") for name in (webhooks.ID, webhooks.TIMESTAMP, webhooks.SIGNATURE)
        )
        return webhooks.verify(self.server.key, message, stamp, signature, body, time.time())

    def _tell(self, body: bytes, problem: str) -> None:
        text = body.decode("utf-8", "replace")
        try:
            found: Any = json.loads(text)
        except ValueError:
            found = text
        verified = None if not self.server.key else not problem
        told = {"id": self.headers.get("webhook-id"), "verified": verified, "problem": problem, "message": found}
        if self.server.as_json:
            print(json.dumps(told), flush=True)
            return
        state = {None: "not verified", True: "verified", False: f"REFUSED: {problem}"}[verified]
        shown = json.dumps(found, indent=2, ensure_ascii=True)
        print(f"{told['id']}  {state}\n{shown}\n", flush=True)
