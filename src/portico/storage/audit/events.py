"""What is to be recorded: noted inside the transaction that does it, by whoever acts at this moment."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

OK: Final = "ok"
REFUSED: Final = "refused"
LONGEST: Final = 16 * 1024  # characters of the details of one record
_PENDING: Final = "audit"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who acts, and from where.

    `kind`: key, person, device, anonymous (nobody has shown credentials), operator (the command line), gateway (Portico
    by itself). `source`: the client's address, "cli", or "" for the gateway.
    """

    kind: str = "gateway"
    id: str = ""
    source: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was done, or refused; plain values that fit their columns, `detail` as JSON."""

    tenant: str
    actor_kind: str
    actor_id: str
    action: str
    object_kind: str
    object_id: str
    source: str
    result: str
    code: str
    request_id: str
    detail: str


_origin: ContextVar[Origin] = ContextVar("portico_audit_origin", default=Origin())  # noqa: B039 - it is frozen


@contextmanager
def acting(origin: Origin) -> Iterator[None]:
    """What is noted inside, by this task and those it starts, was done by `origin`."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def present() -> Origin:
    """Whoever acts now."""
    return _origin.get()


def operator() -> Origin:
    """Whoever uses the command line: the name of the system's user that this process runs as."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container
        name = str(uid)
    return Origin("operator", name, "cli")


def proved(person: str) -> Origin:
    """Whoever acts now; a stranger is the person that they have proved to be."""
    origin = _origin.get()
    return replace(origin, kind="person", id=person) if origin.kind == "anonymous" else origin


def note(
    session: AsyncSession,
    action: str,
    object_: tuple[str, str],
    *,
    tenant: str = "",
    detail: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
    result: str = OK,
    code: str = "",
) -> None:
    """Record an `action` (noun.verb) on `object_` (kind, id) at the end of the session's transaction, or not at all.

    `tenant`: whose thing it is, "" for what is the gateway's. `detail`: JSON values, never a secret. `origin`: whoever
    acts now, when left out.
    """
    by = origin or _origin.get()
    event = Event(
        clipped(tenant, 64),
        clipped(by.kind, 16),
        clipped(by.id, 300),
        clipped(action, 64),
        clipped(object_[0], 32),
        clipped(object_[1], 300),
        clipped(by.source, 64),
        clipped(result, 16),
        clipped(code, 64),
        clipped(by.request_id, 128),
        _written(detail or {}),
    )
    session.info.setdefault(_PENDING, []).append(event)


def pending(session: AsyncSession, action: str) -> int:
    """How often an `action` was noted in `session` and is not written yet."""
    return sum(event.action == action for event in session.info.get(_PENDING, ()))


def taken(session: AsyncSession) -> list[Event]:
    """What was noted in `session` and is not written yet; it is the caller's to write."""
    events: list[Event] = session.info.pop(_PENDING, [])
    return events


def clipped(text: str, most: int) -> str:
    """Text that every database keeps as it is: at most `most` characters, all of which print."""
    return "".join(character for character in text[: 2 * most] if character.isprintable())[:most]


def _written(detail: Mapping[str, Any]) -> str:
    text = json.dumps(detail, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= LONGEST else json.dumps({"left_out": f"{len(text)} characters"})
