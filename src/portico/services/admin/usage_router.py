"""The routes of `admin` about usage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from portico.identity.principal import Principal
from portico.services import csv_text
from portico.services.admin import ranges
from portico.services.admin import usage_schemas as views
from portico.services.admin.statistics import Statistics
from portico.services.callers import needs
from portico.services.values import Instant, Limit, Tenant
from portico.services.views import Page, View

STATS: Final = "/api/v1/admin/stats"
USAGE: Final = "/api/v1/admin/usage"
REQUESTS: Final = "/api/v1/admin/requests"
CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {csv_text.MEDIA_TYPE: {"schema": {"type": "string"}}}}}
CHUNK: Final = 1000  # rows of a CSV that are asked for at a time
CALLERS: Final = tuple(views.CallerUsage.model_fields)
REQUEST: Final = tuple(views.RequestView.model_fields)
POINT: Final = ("at", *views.Sums.model_fields)

StatsReader = Annotated[Principal, Depends(needs("stats:read"))]
UsageReader = Annotated[Principal, Depends(needs("usage:read"))]
From = Annotated[Instant | None, Query(alias="from", description="RFC 3339; a day before `to` when left out")]
To = Annotated[Instant | None, Query(alias="to", description="RFC 3339; now when left out")]
As = Annotated[views.Format | None, Query(alias="format", description="`csv`, as Accept: text/csv; JSON otherwise")]
Caller = Annotated[
    str, Path(alias="id", pattern=r"^[!-~]{1,255}$", description="Id of a key; or the name of a person or device")
]
Kind = Annotated[str, Query(pattern=r"^[a-z]{1,16}$", description="Kind of caller: key, person, device")]
After = Annotated[
    str | None,
    Query(pattern=r"^[0-9]{1,18}\.[0-9]{1,18}$", description="`next_cursor` of the page before; none: the first page"),
]
Before = Annotated[
    str | None,
    Query(
        alias="after", pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before; none: the first page"
    ),
]
Route = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]+$", description="Name of a route")]
Status = Annotated[
    str | None, Query(pattern=r"^[1-5](xx|[0-9]{2})$", description="Such as 404, or 5xx for all that begin so")
]
Key = Annotated[str | None, Query(pattern=r"^[!-~]{1,255}$", description="Id of a key, or another caller's name")]


def add(router: APIRouter, statistics: Statistics) -> None:
    """Add them to the router of `admin`."""
    _stats(router, statistics)
    _usage(router, statistics)
    _of(router, statistics)
    _requests(router, statistics)


def _stats(router: APIRouter, statistics: Statistics) -> None:
    @router.get(STATS, summary="What a range of time had, at a glance", response_model=views.Stats, responses=CSV)
    async def stats(
        request: Request,
        caller: StatsReader,
        start: From = None,
        end: To = None,
        step: views.Step | None = None,
        tenant: Tenant = None,
        form: As = None,
    ) -> views.Stats | Response:
        asked = ranges.whole(start, end, statistics.kept)
        csv = csv_text.wanted(request, form)
        series = ranges.stepped(start, end, step, statistics.kept) if step or csv else None
        found = await statistics.stats(caller, tenant, asked, series)
        return _series("stats", found.series or []) if csv else found


def _usage(router: APIRouter, statistics: Statistics) -> None:
    @router.get(USAGE, summary="Callers, those that had most first", response_model=views.UsagePage, responses=CSV)
    async def usage(
        request: Request,
        caller: UsageReader,
        start: From = None,
        end: To = None,
        tenant: Tenant = None,
        kind: Kind = "key",
        by: views.By = "requests",
        after: After = None,
        limit: Limit = 50,
        form: As = None,
    ) -> views.UsagePage | Response:
        page = partial(statistics.page, caller, tenant, ranges.whole(start, end, statistics.kept), kind=kind, by=by)
        if csv_text.wanted(request, form):
            return csv_text.answer("usage", CALLERS, _all(page, CALLERS))
        return await page(after=after, limit=limit)


def _of(router: APIRouter, statistics: Statistics) -> None:
    @router.get(
        USAGE + "/{id}", summary="What a caller had, step by step", response_model=views.KeyUsage, responses=CSV
    )
    async def of(
        request: Request,
        caller: UsageReader,
        name: Caller,
        start: From = None,
        end: To = None,
        step: views.Step | None = None,
        form: As = None,
    ) -> views.KeyUsage | Response:
        found = await statistics.of(caller, name, ranges.stepped(start, end, step, statistics.kept))
        return _series("usage", found.series) if csv_text.wanted(request, form) else found


def _requests(router: APIRouter, statistics: Statistics) -> None:
    @router.get(REQUESTS, summary="The newest requests", response_model=Page[views.RequestView], responses=CSV)
    async def requests(
        request: Request,
        caller: UsageReader,
        tenant: Tenant = None,
        key: Key = None,
        route: Route = None,
        status: Status = None,
        before: Before = None,
        limit: Limit = 50,
        form: As = None,
    ) -> Page[views.RequestView] | Response:
        page = partial(statistics.requests, caller, tenant, name=key, route=route, status=status)
        if csv_text.wanted(request, form):
            return csv_text.answer("requests", REQUEST, _all(page, REQUEST))
        return await page(after=before, limit=limit)


def _series(name: str, points: list[views.Point]) -> Response:
    return csv_text.answer(name, POINT, csv_text.at_hand(_cells(point, POINT) for point in points))


async def _all(page: Callable[..., Awaitable[Any]], columns: Sequence[str]) -> AsyncIterator[list[csv_text.Cell]]:
    """Every row, page by page: nobody holds the database while a client reads."""
    after: str | None = None
    while True:
        found = await page(after=after, limit=CHUNK)
        for each in found.items:
            yield _cells(each, columns)
        after = found.next_cursor
        if after is None:
            return


def _cells(view: View, columns: Sequence[str]) -> list[csv_text.Cell]:
    return [getattr(view, name) for name in columns]
