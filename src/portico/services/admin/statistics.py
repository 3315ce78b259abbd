"""What administrators ask about usage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from portico.errors import Missing
from portico.identity.principal import Principal
from portico.services import callers
from portico.services.admin import usage_schemas as views
from portico.services.admin.ranges import Range, moment
from portico.services.host import Host
from portico.services.views import Page
from portico.storage.accounts import Keys, People
from portico.storage.database import Database
from portico.storage.tables.usage import KEY, ROUTE
from portico.storage.usage import Judgements, Ranked, Ranks, Recent, Request, Retention, Usage, Verdicts
from portico.storage.usage.records import Counts, judged, total
from portico.storage.webhooks import numbers

TOP: Final = 10
REFUSALS: Final = (401, 403, 429)


@dataclass(frozen=True, slots=True)
class Statistics:
    """The repositories of what was counted, and of what there is."""

    host: Host
    keys: Keys
    people: People
    usage: Usage
    judgements: Judgements
    ranks: Ranks
    recent: Recent
    kept: Retention
    db: Database

    async def stats(self, caller: Principal, tenant: str | None, asked: Range, series: Range | None) -> views.Stats:
        """All at a glance; of every tenant for those who see all, and name none."""
        whose = _whose(caller, tenant)
        span = (asked.start, asked.end)
        statuses = await self.usage.statuses(whose, asked.span, *span)
        counts = total(statuses.values())
        engines = await self.judgements.total_engines(whose, asked.span, *span)
        keys = await self.ranks.top(KEY, whose, *span, limit=TOP)
        people = await self.ranks.top("person", whose, *span, limit=1)
        routes = await self.ranks.top(ROUTE, whose, *span, limit=TOP)
        living, new = await self.keys.count(whose, asked.first, asked.last)
        return views.Stats(
            tenant=whose,
            start=asked.first,
            end=asked.last,
            totals=views.sums(counts, judged(engines.values())),
            error_rate=round(counts.errors / counts.requests, 6) if counts.requests else 0.0,
            refusals={str(status): statuses.get(status, Counts()).requests for status in REFUSALS},
            keys=views.KeyNumbers(total=living, new=new, active=keys.count),
            people=views.PeopleNumbers(total=await self.people.count(whose), active=people.count),
            webhooks=views.webhooks(await numbers(self.db, whose)),
            engines=views.engines(engines),
            top_routes=[_route(each) for each in routes.items],
            top_keys=[_caller(each) for each in keys.items],
            step=series.step if series else None,
            series=await self._series(whose, series) if series else None,
            now=await self._now() if callers.across(caller) else None,
        )

    async def of(self, caller: Principal, name: str, asked: Range) -> views.KeyUsage:
        """What a key had, or a person or device by its name; Missing when the caller may see none of that name."""
        sight = callers.sight(caller)
        numbers = await self.usage.callers(name, sight)
        if not numbers and not await self._there(name, sight):
            raise Missing("there is no such key")
        found = await self.usage.series(numbers, asked.span, asked.start, asked.end)
        texts = await self.judgements.series(numbers, asked.span, asked.start, asked.end)
        engines = await self.judgements.engines(numbers, asked.span, asked.start, asked.end)
        return views.KeyUsage(
            key_id=name,
            start=asked.first,
            end=asked.last,
            step=asked.step,
            totals=views.sums(total(found.values()), judged(texts.values())),
            engines=views.engines(engines),
            series=_filled(found, texts, asked),
        )

    async def page(
        self,
        caller: Principal,
        tenant: str | None,
        asked: Range,
        *,
        kind: str,
        by: views.By,
        after: str | None,
        limit: int,
    ) -> views.UsagePage:
        """A page of the callers of a kind."""
        ranking = await self.ranks.top(
            kind, _whose(caller, tenant), asked.start, asked.end, by=by, after=_cursor(after), limit=limit + 1
        )
        items = ranking.items[:limit]
        following = f"{getattr(items[-1], by)}.{items[-1].subject}" if len(ranking.items) > limit else None
        return views.UsagePage(
            start=asked.first,
            end=asked.last,
            count=ranking.count,
            items=[_caller(each) for each in items],
            next_cursor=following,
        )

    async def requests(
        self,
        caller: Principal,
        tenant: str | None,
        *,
        name: str | None,
        route: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> Page[views.RequestView]:
        """A page of the newest requests; `status` is one, or its first digit and xx."""
        between = (int(status.replace("xx", "00")), int(status.replace("xx", "99"))) if status else None
        before = int(after) if after else None
        found, following = await self.recent.list(
            _whose(caller, tenant), name=name, route=route, status=between, before=before, limit=limit
        )
        return Page(items=[_request(each) for each in found], next_cursor=None if following is None else str(following))

    async def _series(self, tenant: str | None, asked: Range) -> list[views.Point]:
        range_ = (tenant, asked.span, asked.start, asked.end)
        return _filled(await self.usage.totals(*range_), await self.judgements.totals(*range_), asked)

    async def _there(self, name: str, tenant: str | None) -> bool:
        """Whether there is a key that was never used."""
        if await self.keys.get(name, tenant) is not None:
            return True
        return any(key.id == name and tenant in (None, key.tenant) for key in self.host.snapshot.keys)

    async def _now(self) -> views.Now | None:
        try:
            return views.Now(**await self.host.ask("status"))
        except TimeoutError:
            return None


def _whose(caller: Principal, tenant: str | None) -> str | None:
    """The tenant that is asked about: a named one, or what the caller sees."""
    return callers.sight(caller) if tenant is None else callers.scope(caller, tenant)


def _filled(found: dict[int, Counts], texts: dict[int, Verdicts], asked: Range) -> list[views.Point]:
    nothing, none = Counts(), Verdicts()
    return [views.point(moment(at), found.get(at, nothing), texts.get(at, none)) for at in asked.steps()]


def _caller(each: Ranked) -> views.CallerUsage:
    return views.CallerUsage(
        key_id=each.name,
        kind=each.kind,
        tenant=each.tenant,
        **_sums(each),
    )


def _route(each: Ranked) -> views.TopRoute:
    return views.TopRoute(
        route=each.name,
        method=each.kind,
        **_sums(each),
    )


def _sums(each: Ranked) -> dict[str, Any]:
    return {
        "requests": each.requests,
        "errors": each.errors,
        "bytes_in": each.bytes_in,
        "bytes_out": each.bytes_out,
        "mean": views.mean(each.requests, each.micros),
    }


def _request(each: Request) -> views.RequestView:
    return views.RequestView(
        at=each.at,
        request_id=each.request_id,
        key_id=each.key_id or each.principal,
        kind=each.kind,
        tenant=each.tenant,
        route=each.route,
        method=each.method,
        path=each.path,
        status=each.status,
        code=each.code,
        latency=each.micros / 1000,
        bytes_in=each.bytes_in,
        bytes_out=each.bytes_out,
        client=each.client,
    )


def _cursor(after: str | None) -> tuple[int, int] | None:
    if after is None:
        return None
    had, subject = after.split(".")  # its form was checked as it came
    return int(had), int(subject)
