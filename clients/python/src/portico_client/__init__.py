"""A typed client for Portico: detection, keys and webhooks."""

from portico_client.aio import AsyncPortico
from portico_client.client import Portico
from portico_client.detection import Accepted, Batch, BatchError, BatchItem, Job, JobError
from portico_client.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    JobFailed,
    JobUnfinished,
    NotFound,
    PorticoError,
    RateLimited,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    WebhookError,
)
from portico_client.models import Verdict
from portico_client.webhooks import WebhookMessage, verify_webhook

__all__ = [
    "Accepted",
    "ApiError",
    "AsyncPortico",
    "Batch",
    "BatchError",
    "BatchItem",
    "Conflict",
    "ConnectionFailed",
    "Forbidden",
    "Invalid",
    "Job",
    "JobError",
    "JobFailed",
    "JobUnfinished",
    "NotFound",
    "Portico",
    "PorticoError",
    "RateLimited",
    "TimedOut",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Verdict",
    "WebhookError",
    "WebhookMessage",
    "verify_webhook",
]
