"""Every error that this package raises on purpose.

PorticoError
├── ConnectionFailed        no answer came: the name, the network, TLS, a connection that broke
│   └── TimedOut            it took longer than `timeout`
├── UnexpectedAnswer        something answered, but not as a gateway does
├── ApiError                the gateway refused; has status, code, detail, hint, request_id, errors, retry_after
│   ├── Invalid             400, 413, 415, 422: the request is wrong
│   ├── Unauthorized        401: the credentials
│   ├── Forbidden           403: the caller may not do this
│   ├── NotFound            404: there is no such thing, or it is another's
│   ├── Conflict            409: it does not fit what is there
│   ├── RateLimited         429: too much; `retry_after` says when to come back
│   └── Unavailable         5xx: the gateway or what stands behind it
├── JobFailed               a background job gave up, or was cancelled
├── JobUnfinished           it had not ended in the time that was given
└── WebhookError            a message that is not from whom it says, or too old
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PorticoError(Exception):
    """Base of all."""


class ConnectionFailed(PorticoError):
    """No answer came. `sent` says whether the gateway may have got the request nevertheless."""

    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class TimedOut(ConnectionFailed):
    """It took longer than `timeout`."""


class UnexpectedAnswer(PorticoError):
    """An answer that is not of the form a gateway gives: an older or newer one, or something in between."""


class ApiError(PorticoError):
    """A refusal (RFC 9457). Go by `code`: it stays when the wording changes; docs/reference/errors.md has them all.

    `errors` names each wrong value as {"path", "message"}. `retry_after` is in seconds, None where nothing was said.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.code = _text(problem, "code") or f"http_{status}"
        self.detail = _text(problem, "detail")
        self.hint = _text(problem, "hint")
        self.request_id = _text(problem, "request_id")
        found = problem.get("errors")
        self.errors: list[dict[str, str]] = found if isinstance(found, list) else []
        self.retry_after = retry_after
        super().__init__(f"{status} {self.code}: {self.detail}".removesuffix(": "))


class Invalid(ApiError):
    """400, 413, 415 or 422: the request is wrong."""


class Unauthorized(ApiError):
    """401: the credentials are missing or not valid."""


class Forbidden(ApiError):
    """403: the caller may not do this."""


class NotFound(ApiError):
    """404: there is no such thing, or it is another's."""


class Conflict(ApiError):
    """409: it does not fit what is there."""


class RateLimited(ApiError):
    """429: too much; `retry_after` says when to come back."""


class Unavailable(ApiError):
    """5xx: the gateway or what stands behind it."""


class JobFailed(PorticoError):
    """A background job that ended without a result: `failed` or `cancelled`."""

    def __init__(self, job_id: str, status: str, detail: str = "") -> None:
        super().__init__(f"job {job_id}: {status}: {detail}".removesuffix(": "))
        self.job_id = job_id
        self.status = status
        self.detail = detail


class JobUnfinished(PorticoError):
    """A job that had not ended in the time that was given. It goes on."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is still {status}")
        self.job_id = job_id
        self.status = status


class WebhookError(PorticoError):
    """A message that is not from whom it says, or too old."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: RateLimited,
}


def refusal(status: int, problem: Mapping[str, Any], retry_after: float | None) -> ApiError:
    """The error for an answer of this status."""
    kind = _BY_STATUS.get(status, Unavailable if status >= 500 else ApiError)
    return kind(status, problem, retry_after)


def _text(problem: Mapping[str, Any], name: str) -> str:
    value = problem.get(name)
    return value if isinstance(value, str) else ""
