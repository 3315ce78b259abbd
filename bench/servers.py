"""The servers of the benchmark: an upstream, nginx with the like policies, and Portico. All on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1
KEY: Final = "bench-key-0123456789abcdef"
KEYS: Final = 1000  # keys that each gateway knows
BODY: Final = json.dumps({"id": 42, "name": "Ada Lovelace", "tags": ["a", "b"], "note": "x" * 105})  # 172 bytes

UPSTREAM: Final = """
worker_processes 1; daemon off; pid {dir}/upstream.pid; error_log {dir}/upstream.error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type application/json;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      add_header ETag $bench_etag; add_header Cache-Control "private, max-age=60"; add_header Vary "Accept-Encoding";
      add_header X-Content-Type-Options nosniff;
      return 200 '{body}';
    }}
  }}
  map $arg_n $bench_etag {{ "" '"5f3e7a1c9b2d4e60"'; default '"$request_id"'; }}
}}
"""

GATEWAY: Final = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.error.log;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {dir}/g1; proxy_temp_path {dir}/g2; fastcgi_temp_path {dir}/g3;
  uwsgi_temp_path {dir}/g4; scgi_temp_path {dir}/g5;
  keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on; map_hash_max_size 8192;
  log_format line escape=json '{{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","path":"$uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,'
    '"upstream":"$upstream_addr","key":"$key_name"}}';
  access_log {dir}/nginx.access.log line buffer=64k flush=1s;
  map $http_x_api_key $key_name {{ default ""; {keys} }}
  limit_req_zone $key_name zone=keys:10m rate=1000000r/s;
  upstream backend {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /users/ {{
      if ($key_name = "") {{ return 401; }}
      limit_req zone=keys burst=1000000 nodelay; limit_req_status 429;
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-API-Key ""; proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host; proxy_set_header Via "1.1 nginx";
      proxy_set_header Forwarded 'for=$remote_addr;host="$host";proto=$scheme';
      add_header X-Request-Id $request_id; add_header Via "1.1 nginx";
    }}
  }}
}}
"""

PORTICO: Final = """
server: {{host: 127.0.0.1, port: {port}}}
data_dir: {dir}
upstreams:
  users: {{targets: ["http://127.0.0.1:{upstream}"]}}
keys:
{keys}
routes:
  - name: users
    paths: [/users/*]
    upstream: users
    auth: [api_key]
    limits: [{{rate: 1000000/second, burst: 1000000, by: key}}]
"""


class Server:
    """A process tree on one core, its port, and the process whose CPU time counts."""

    def __init__(
        self, name: str, command: list[str], folder: Path, port: int, core: int, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.output = folder / f"{name.replace(' ', '-')}.output"
        self.command = ["taskset", "-c", str(core), *command]
        self.port = port
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.log: Path | None = None

    def __enter__(self) -> Server:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _wait(self) -> None:
        """Until a request is answered with 200, at most 20 seconds."""
        deadline = time.monotonic() + 20
        seen = "nothing"
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start: {self.output.read_text()[-2000:]}")
            try:
                seen = str(self.ask())
                if seen == "200":
                    return
            except OSError as error:
                seen = str(error)
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} is not ready: {seen}")

    def ask(self) -> int:
        """The status that one request gets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/users/1", headers={"X-API-Key": KEY})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def cpu(self) -> float:
        """CPU seconds that the whole tree has used so far."""
        assert self.process is not None
        return sum(_cpu_of(pid) for pid in tree(self.process.pid))


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found.extend(int(child) for child in task.read_text().split())
    return found


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def upstream(folder: Path) -> Server:
    """A second nginx that answers 200 with 172 bytes and eight fields; `?n=…` gives another ETag each time."""
    port = free_port()
    config = folder / "upstream.conf"
    config.write_text(UPSTREAM.format(dir=folder, port=port, body=BODY))
    return Server("upstream", ["nginx", "-p", str(folder), "-c", str(config)], folder, port, LOAD_CORE)


def nginx(folder: Path, target: Server) -> Server:
    """nginx with a key map, limit_req, a JSON access log and a request id."""
    port = free_port()
    config = folder / "nginx.conf"
    keys = " ".join(f'"{key}" "{name}";' for name, key in keys_of())
    config.write_text(GATEWAY.format(dir=folder, port=port, upstream=target.port, keys=keys))
    server = Server("nginx", ["nginx", "-p", str(folder), "-c", str(config)], folder, port, GATEWAY_CORE)
    server.log = folder / "nginx.access.log"
    return server


def portico(folder: Path, target: Server, compiled: bool) -> Server:
    """Portico, one edge worker, with the same keys and limit, as `portico up` starts it."""
    name = "compiled" if compiled else "interpreted"
    port = free_port()
    home = folder / name
    config = folder / f"{name}.yaml"
    digests = [(key_id, hashlib.sha256(key.encode()).hexdigest()) for key_id, key in keys_of()]
    keys = "\n".join(f"  - {{id: {key_id}, sha256: {digest}}}" for key_id, digest in digests)
    config.write_text(PORTICO.format(dir=home, port=port, upstream=target.port, keys=keys))
    command = [sys.executable, "-m", "portico", "up", "-c", str(config)]
    mode = {"PORTICO_COMPILED": "1" if compiled else "0"}
    server = Server(f"portico {name}", command, folder, port, GATEWAY_CORE, mode)
    server.log = home / "logs"
    return server


def keys_of() -> list[tuple[str, str]]:
    """The keys that the gateways know: name, key."""
    return [("bench", KEY), *((f"other-{n}", f"other-key-{n:06d}-0123456789ab") for n in range(KEYS - 1))]
