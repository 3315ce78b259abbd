"""What clients send, read strictly: one JSON text in UTF-8 that every reader understands alike (RFC 8259, RFC 7493)."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from portico.services.problems import Refused

MAX_DEPTH: Final = 64  # lists and objects within one another
EXACT: Final = 1 << 53  # up to here whole numbers are exact, with a fraction or without (RFC 7493 2.2)
LONG: Final = 256 * 1024  # bytes from which on a body is read in a thread, so that others are answered meanwhile
MOST_VALUES: Final = 20_000  # in such a body; a list of lists is read in one go, thread or not
LONGEST_NUMBER: Final = 40  # characters; an integer of more is no value that anyone means


class JsonError(ValueError):
    """The text is no JSON, or JSON that readers disagree about."""


class NotUtf8(JsonError):
    """The bytes are no text."""


def parse(data: bytes, any_text: bool = False) -> Any:
    """The value of a JSON text. `any_text` takes every character in values (never in names): whoever asks checks them.

    JsonError, without a word of the text, for what is not UTF-8 or not JSON, for names that come twice in an object,
    NaN and infinities (1e999 too), numbers longer than 40 characters, NUL and lone surrogates, and more than 64 levels.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(f"it is not UTF-8 at byte {error.start}") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"it is not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    check(value, names_only=any_text)
    return value


class _Decoder(json.JSONDecoder):
    def __init__(self) -> None:
        super().__init__(
            object_pairs_hook=_unique, parse_constant=_constant, parse_float=_float, parse_int=_int, strict=True
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise JsonError("a name comes twice in an object")
    return found


def _constant(text: str) -> Any:
    raise JsonError(f"{text} is not JSON")


def _float(text: str) -> float:
    if len(text) > LONGEST_NUMBER or not math.isfinite(value := float(text)):
        raise JsonError("a number is out of range")
    # JSON has one kind of number: 1.0 and 1 are the same, and fields that want a whole one take both.
    return int(value) if value.is_integer() and abs(value) <= EXACT else value


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise JsonError("a number is out of range")
    return int(text)


_DECODER: Final = _Decoder()
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_MARKS: Final = (b"[", b"{", b",")  # before each value, about


def _parse_long(data: bytes, any_text: bool) -> Any:
    """As `parse`, for a thread; JsonError too for more than MOST_VALUES values, before they are made."""
    if sum(map(data.count, _MARKS)) > MOST_VALUES and _values(data) > MOST_VALUES:
        raise JsonError(f"it is long and has more than {MOST_VALUES} values")
    return parse(data, any_text)


def _values(data: bytes) -> int:
    """How many values there are, about: what stands in texts does not count."""
    found = at = 0
    for text in _STRING.finditer(data):
        found += sum(data.count(mark, at, text.start()) for mark in _MARKS)
        at = text.end()
    return found + sum(data.count(mark, at) for mark in _MARKS)


def check(value: Any, names_only: bool = False) -> None:
    """Depth and characters of a JSON value, without recursion; JsonError for what `parse` does not take.

    `names_only` looks at the characters of names, and leaves those of values alone.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                if not names_only:
                    _characters(each)
            elif isinstance(each, dict):
                for name in each:
                    _characters(name)
                below += each.values()
            elif isinstance(each, list):
                below += each
        if not below:
            return
        level = below
    raise JsonError("it is nested too deeply")


def _characters(text: str) -> None:
    if "\0" in text:
        raise JsonError("a text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JsonError("a text holds half of a surrogate pair") from None


class JsonRequest(Request):
    """A request whose JSON is read by `parse`."""

    any_text = False
    not_text = 400

    async def json(self) -> Any:
        """The body's value; Refused (400; `not_text` where it is not UTF-8) when it is no JSON as `parse` wants it."""
        try:
            body = await self.body()
            if len(body) > LONG:
                return await asyncio.to_thread(_parse_long, body, self.any_text)
            return parse(body, self.any_text)
        except JsonError as error:
            status = self.not_text if isinstance(error, NotUtf8) else 400
            detail = f"the body can't be read: {error}"
            raise Refused(status, "bad_json", detail, "send one JSON text in UTF-8") from None


class TextRequest(JsonRequest):
    """The same, but values may have any character: their schema says where one is wrong. Bytes that are none: 422."""

    any_text = True
    not_text = 422


class StrictRoute(APIRoute):
    """A route that takes its JSON strictly, and nothing else where it takes JSON."""

    request_type: type[JsonRequest] = JsonRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind our reader."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def strict(request: Request) -> Response:
            ours = self.request_type(request.scope, request.receive)
            # A body that is missing altogether is told as such by the schema.
            if takes_json and not is_json(request.headers.get("content-type", "")) and await ours.body():
                detail = "the body must be application/json"
                raise Refused(415, "", detail, "send JSON, and Content-Type: application/json")
            return await handle(ours)

        return strict


def is_json(content_type: str) -> bool:
    """Whether a Content-Type names JSON (RFC 8259, RFC 6839)."""
    message = Message()
    message["content-type"] = content_type
    kind = message.get_content_type()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


class TextRoute(StrictRoute):
    """A route whose schema checks the characters of every value itself."""

    request_type = TextRequest


def router(tag: str, route: type[StrictRoute] = StrictRoute) -> APIRouter:
    """An empty router whose routes read strictly."""
    return APIRouter(tags=[tag], route_class=route)
