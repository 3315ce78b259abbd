"""The server of `portico webhooks listen`, apart from it: with it comes `http.server`, which no other command needs."""

from __future__ import annotations

import json
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from portico.identity import webhooks

MOST: Final = 1024 * 1024  # bytes of a body
WAIT: Final = 15.0  # seconds that a client has for its request


class Receiver(ThreadingHTTPServer):
    """Listens from its making on; `key` is empty when signatures are not verified."""

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
    server: Receiver
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
