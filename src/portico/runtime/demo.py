"""`portico up --demo`: a configuration of its own, an echo upstream behind it, and curl lines to try."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from pathlib import Path
from typing import Final

from portico.runtime.options import UpOptions

DEFAULT_DATA_DIR: Final = Path("~/.portico")
NAME: Final = "demo.yaml"
CONFIG: Final = """\
# Written by `portico up --demo` at every start; copy it to portico.yaml to begin a configuration of your own.
upstreams:
  echo:
    targets: [http://127.0.0.1:{port}]
keys:
  - {{id: demo, sha256: "{digest}", permissions: [echo:read]}}
routes:
  - {{name: echo, paths: [/echo/*], upstream: echo}}
  - {{name: secure, paths: [/secure/*], upstream: echo, auth: [api_key], require: [echo:read]}}
  - {{name: limited, paths: [/limited/*], upstream: echo, limits: [{{window: 5/minute, by: client}}]}}
  - {{name: stream, paths: [/stream], upstream: echo}}
"""


class Demo:
    """The key lives in memory and on the screen only; the file has its hash."""

    def __init__(self, options: UpOptions) -> None:
        self.data_dir = (options.data_dir or DEFAULT_DATA_DIR).expanduser()
        self.key = "pk_demo_" + secrets.token_urlsafe(24)
        self._sock: socket.socket | None = None

    @property
    def config(self) -> Path:
        return self.data_dir / NAME

    def prepare(self) -> None:
        """Open the echo upstream's socket and write the configuration that names it."""
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._sock.setblocking(False)
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        file = os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "w") as stream:
            stream.write(CONFIG.format(port=self._sock.getsockname()[1], digest=digest))

    def fileno(self) -> int:
        """The echo upstream's listening socket."""
        assert self._sock is not None
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def hints(self, url: str) -> list[str]:
        """What to try, as lines to paste."""
        return [
            "  try       (an echo upstream stands behind each of these)",
            f"    curl -i {url}/echo/hello",
            f"    curl -i -H 'X-API-Key: {self.key}' {url}/secure/hello",
            f"    for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' {url}/limited/hello; done",
            f"    curl -N {url}/stream",
            f"    curl -s {url}/metrics | grep portico_requests_total",
        ]
