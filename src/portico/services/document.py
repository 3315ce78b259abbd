"""The OpenAPI document (3.1) beyond what FastAPI knows: credentials, permissions, and the refusals of every path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from portico.contracts import Mount
from portico.services.problems import MEDIA_TYPE

SCHEMES: Final[dict[str, dict[str, str]]] = {
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key"},
    "api_key_bearer": {"type": "http", "scheme": "bearer", "description": "An API key"},
    "jwt": {"type": "http", "scheme": "bearer", "description": "An access token (JWT)"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "portico_session",
        "description": "A browser's session; changes need an Origin of this very host",
    },
    "certificate": {"type": "mutualTLS", "description": "A client certificate"},
}
PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "A refusal (RFC 9457)",
    "required": ["type", "title", "status", "code", "detail", "hint", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "urn:portico:problem: and the code"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "For programs: it stays when the wording changes"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "What the caller can do"},
        "request_id": {"type": "string", "description": "By which the logs are searched"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
                "required": ["path", "message"],
            },
        },
    },
}
ALWAYS: Final = {
    400: "The request can't be read",
    404: "There is nothing at this path, or nothing that the caller may see",
    405: "The path does not take this method",
    408: "The request did not arrive in time",
    413: "The body is too large",
    414: "The target is too long",
    417: "An expectation that is not met",
    431: "The head is too large",
    429: "Too many requests; Retry-After says when to try again",
    503: "Not available now; Retry-After says when to try again",
}
AUTHENTICATED: Final = {401: "Credentials are missing or not valid"}
PERMITTED: Final = {403: "The caller may not do this"}
WITH_INPUT: Final = {422: "A value is missing or wrong; `errors` names each"}
WITH_BODY: Final = {415: "The body is not JSON"}


def refusals(described: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a FastAPI route that refuses with problems of these statuses."""
    return {status: _answer(text) for status, text in described.items()}


def complete(document: dict[str, Any], mounts: Sequence[Mount]) -> dict[str, Any]:
    """The same document, with the credentials that `mounts` ask for and every refusal that a path may answer."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of refusals, which nobody sends
        schemas.pop(unused, None)
    components["securitySchemes"] = SCHEMES
    declared = {(mount.method.lower(), mount.path): mount for mount in mounts}
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            _complete(operation, declared.get((method, path)))
    return document


def _complete(operation: dict[str, Any], mount: Mount | None) -> None:
    """Add what the edge asks for, and what may be answered instead of what the route itself describes."""
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)
    credentials = mount.credentials if mount is not None else ()
    if mount is not None and credentials:
        operation["security"] = list(_security(credentials))
    if mount is not None and mount.permission:
        text = f"Needs the permission `{mount.permission}`."
        operation["description"] = f"{operation.get('description', '')}\n\n{text}".strip()
    described = dict(ALWAYS)
    if credentials:
        described |= AUTHENTICATED | PERMITTED
    if "requestBody" in operation:
        described |= WITH_BODY
    if "requestBody" in operation or operation.get("parameters"):
        described |= WITH_INPUT
    for status, text in described.items():
        answers.setdefault(str(status), _answer(text))
    operation["responses"] = dict(sorted(answers.items()))


def _security(credentials: tuple[str, ...]) -> Iterator[dict[str, list[str]]]:
    """Any one of them; a key has two places, and a browser's session holds a token."""
    also = {"api_key": "api_key_bearer", "jwt": "session"}
    for kind in credentials:
        yield {kind: []}
        if kind in also:
            yield {also[kind]: []}


def _answer(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
