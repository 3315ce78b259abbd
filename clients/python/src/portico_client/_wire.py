"""What both clients do with the bytes of requests and answers."""

from __future__ import annotations

import importlib.metadata
import json
import os
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from portico_client._calls import Call
from portico_client._retry import retry_after
from portico_client.errors import ConnectionFailed, PorticoError, TimedOut, UnexpectedAnswer, refusal

Answer = TypeVar("Answer")

MOST = 32 * 1024 * 1024  # bytes of an answer
CONNECT = 5.0  # seconds
URL = "PORTICO_URL"
KEY = "PORTICO_API_KEY"


class Wire:
    """Where a client sends to, as whom, and how patiently."""

    def __init__(self, url: str | None, api_key: str | None, token: str | None, timeout: float) -> None:
        self.url = _checked(url or os.environ.get(URL) or "http://127.0.0.1:8771")
        # A key of the environment is not sent beside a token: a gateway refuses two credentials that differ.
        self.api_key = api_key or ("" if token else os.environ.get(KEY, ""))
        self.token = token or ""
        self.timeout = timeout
        self.limits = httpx.Timeout(timeout, connect=min(timeout, CONNECT))

    def __repr__(self) -> str:
        return f"{self.url!r}"

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call[Any]) -> httpx.Request:
        """The request of a call."""
        headers = {"User-Agent": _agent(), "Accept": "application/json", "Accept-Encoding": "identity", **call.headers}
        if self.api_key:
            headers["X-API-Key"] = self.api_key
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        url = self.url + call.path
        return client.build_request(call.method, url, content=call.content, headers=headers, timeout=self.limits)


def answer(call: Call[Answer], response: httpx.Response, body: bytes) -> Answer:
    """What a call gives; raises ApiError for a refusal, and UnexpectedAnswer."""
    if not 200 <= response.status_code < 300:
        raise refusal(response.status_code, _problem(response, body), retry_after(response.headers.get("Retry-After")))
    if not body:
        return call.read(None)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer(f"{call.method} {call.path}: the answer is not JSON") from None
    return call.read(value)


def more(body: bytearray, chunk: bytes) -> None:
    """Add a piece of an answer."""
    body += chunk
    if len(body) > MOST:
        raise UnexpectedAnswer(f"the answer has more than {MOST} bytes")


def failed(error: httpx.HTTPError) -> PorticoError:
    """An error of the network as one of ours."""
    before = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)
    words = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"no answer in time: {words}", not before)
    return ConnectionFailed(f"no answer: {words}", not before)


def _problem(response: httpx.Response, body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    # Something in between that knows no problem+json; its first words are better than none.
    return {"detail": body[:200].decode("utf-8", "replace"), "request_id": response.headers.get("X-Request-Id", "")}


def _agent() -> str:
    try:
        return f"portico-client/{importlib.metadata.version('portico-client')}"
    except importlib.metadata.PackageNotFoundError:
        return "portico-client"


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the gateway's URL must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the gateway's URL may have neither credentials nor a query")
    return url.rstrip("/")
