"""The scripts of `lua` in Python, for stores in memory: the simulations run on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from portico.edge.limits.lua import BEAT, TAKE
from portico.state import Script, Table
from portico.state.store import Reply

PARTS: Final = 60
DAY: Final = 86_400_000_000
TELLING: Final = 1_500_000  # until all workers have told again what they hold
YEAR: Final = 31_536_000.0
RUN: Final = "limits:run"  # where a test says which server answers; Redis says so itself


class Ask(NamedTuple):
    """What is asked of one bucket; see `lua.TAKE`."""

    most: int
    unit: int
    want: int
    back: int
    lapse: int
    since: int
    mark: int
    need: int
    owe: int
    debt: int


class Told(NamedTuple):
    """A bucket's answer, and its text and how long to keep it: when nothing is granted, and when all parts are."""

    got: int
    left: int
    wait: int
    mark: int
    without: str
    keep: int
    granted: str
    kept: int


class Scene(NamedTuple):
    """What the buckets of one call have in common."""

    now: int
    emptied: int
    me: str
    workers: str


def rate(text: str | None, ask: Ask, scene: Scene) -> Told:
    """GCRA whose burst is smaller by what workers hold in leases."""
    now, unit, full = scene.now, ask.unit, ask.most * ask.unit
    found = (text or "").split()
    tat = int(found[0]) if text is not None else scene.emptied + full if scene.emptied else 0
    leases = sorted((int(found[i + 2]), found[i], int(found[i + 1])) for i in range(1, len(found), 3))
    held = sum(lease[2] for lease in leases)
    if ask.since:
        tat = max(tat, ask.since + full)
    while leases and leases[0][0] <= now:
        tat = max(tat, leases[0][0] + held * unit)
        held -= leases.pop(0)[2]
    tat = max(max(tat, now + held * unit) + ask.owe * unit, now + held * unit)
    tat = min(tat, now + full + ask.debt * unit)
    for lease in [each for each in leases if ask.back >= 0 and each[1] == scene.me]:
        tat -= min(ask.back, lease[2]) * unit
        held -= lease[2]
        leases.remove(lease)
    got = 0
    if ask.want > ask.need and (held + ask.want) * 4 <= ask.most and tat + ask.want * unit <= now + full:
        got = ask.want
    elif ask.want >= ask.need and tat + ask.need * unit <= now + full:
        got = ask.need
    after = tat + got * unit
    wait = after - now if got else tat + ask.need * unit - now - full
    without, granted = _leased(tat, leases), _leased(after, leases)
    keep = max([tat, *(lease[0] for lease in leases)]) - now
    kept = max([after, *(lease[0] for lease in leases)]) - now
    if got > ask.need:
        granted += f" {scene.me} {got} {now + ask.lapse}"
        kept = max(kept, ask.lapse)
    return Told(got, max(0, (now + full - after) // unit), wait, 0, without, keep, granted, kept)


def _leased(tat: int, leases: list[tuple[int, str, int]]) -> str:
    return " ".join([str(tat), *(f"{who} {amount} {ends}" for ends, who, amount in leases)])


def window(text: str | None, ask: Ask, scene: Scene) -> Told:
    """Sub-windows; what is leased counts where the lease lapses."""
    now, unit, most = scene.now, ask.unit, ask.most
    found = [int(word) for word in (text or "").split()]
    cells = dict(zip(found[::2], found[1::2], strict=True))
    if text is None and scene.emptied:
        cells[_part(scene.emptied, unit)] = most
    current = _part(now, unit)
    cells = {cell: count for cell, count in cells.items() if cell >= current - PARTS}
    given = max(ask.back, -ask.owe)
    if given > 0 and ask.mark in cells:
        cells[ask.mark] -= min(given, cells[ask.mark])
        if not cells[ask.mark]:
            del cells[ask.mark]
    if ask.owe > 0:
        cells[current] = cells.get(current, 0) + ask.owe
    total = sum(cells.values())
    without, keep, oldest = _cells(cells, current, unit, now)
    got, cell = 0, current
    if ask.want > ask.need and ask.want * 4 <= most and total + ask.want <= most:
        got, cell = ask.want, _part(now + ask.lapse, unit)
    elif ask.want >= ask.need and total + ask.need <= most:
        got = ask.need
    if got:
        cells[cell] = cells.get(cell, 0) + got
    granted, kept, first = _cells(cells, current, unit, now)
    wait = _start((first if got else oldest) + PARTS + 1, unit, PARTS - 1) - now
    return Told(got, max(0, most - total - got), wait, cell, without, keep, granted, kept)


def _part(time: int, unit: int) -> int:
    return time // unit * PARTS + time % unit * PARTS // unit


def _cells(cells: dict[int, int], current: int, unit: int, now: int) -> tuple[str, int, int]:
    order = sorted(cells)
    last = order[-1] if order else current
    text = " ".join(f"{cell} {cells[cell]}" for cell in order)
    return text, _start(last + PARTS + 1, unit) - now, order[0] if order else current


def _start(part: int, unit: int, up: int = 0) -> int:
    """When a sub-window begins, rounded down or `up` (by PARTS - 1)."""
    return part // PARTS * unit + (part % PARTS * unit + up) // PARTS


def quota(text: str | None, ask: Ask, scene: Scene) -> Told:
    """A count of one UTC day; `since` is what the worker knows of the day `mark`."""
    today = scene.now // DAY
    day, count = [int(word) for word in text.split()] if text else [today, 0]
    if day < today:
        day, count = today, 0
    if ask.mark == day:
        count = max(count, ask.since)
        count = max(0, count - max(ask.back, -ask.owe, 0))
    count += max(ask.owe, 0)
    got = 0
    if ask.want > ask.need and ask.want * 4 <= ask.most and count + ask.want <= ask.most:
        got = ask.want
    elif ask.want >= ask.need and count + ask.need <= ask.most:
        got = ask.need
    ends = (day + 1) * DAY - scene.now
    left = max(0, ask.most - count - got)
    return Told(got, left, ends, day, f"{day} {count}", ends, f"{day} {count + got}", ends)


def slots(text: str | None, ask: Ask, scene: Scene) -> Told:
    """How many each live worker holds; `back` is what this one held before."""
    found = scene.workers.split()
    alive = {who for who, ends in zip(found[::2], found[1::2], strict=True) if int(ends) > scene.now}
    found = (text or "").split()
    counts = {who: int(count) for who, count in zip(found[::2], found[1::2], strict=True) if who != scene.me}
    others = sum(count for who, count in counts.items() if who in alive)
    most = 0 if scene.emptied and scene.now < scene.emptied + TELLING else ask.most
    got = ask.want if ask.want >= 1 and others + ask.back + ask.want <= most else 0
    left = max(0, most - others - ask.back - got)
    without, granted = (_held(counts, scene.me, own) for own in (ask.back, ask.back + got))
    return Told(got, left, 1_000_000, 0, without, ask.lapse, granted, ask.lapse)


def _held(counts: dict[str, int], me: str, own: int) -> str:
    return " ".join(f"{who} {count}" for who, count in (*counts.items(), *([(me, own)] if own > 0 else [])))


KINDS: Final[dict[bytes, Callable[[str | None, Ask, Scene], Told]]] = {
    b"rate": rate,
    b"window": window,
    b"quota": quota,
    b"slots": slots,
}


def _now(table: Table, told: bytes) -> int:
    return int(told) or int(table.now() * 1_000_000)


def _text(table: Table, key: str) -> str | None:
    value = table.get(key)
    return None if value is None else value.decode()


def take(table: Table, keys: Sequence[str], args: Sequence[bytes]) -> Reply:
    """`lua.TAKE`."""
    now = _now(table, args[0])
    marker = (_text(table, keys[0]) or "").split()
    if not marker or marker[0] != args[1].decode():
        return [-1]
    scene = Scene(now, int(marker[1]), args[2].decode(), _text(table, keys[1]) or "")
    told: list[Told] = []
    granted = True
    for index, key in enumerate(keys[2:]):
        at = 4 + index * 11
        ask = Ask(*map(int, args[at + 1 : at + 11]))
        told.append(KINDS[args[at]](_text(table, key), ask, scene))
        granted = granted and (ask.want <= 0 or told[-1].got > 0)
    if args[3] != b"1":
        for key, each in zip(keys[2:], told, strict=True):
            text, left = (each.granted, each.kept) if granted else (each.without, each.keep)
            table.set(key, text.encode(), -(-max(left, 0) // 1000) / 1000 + 1.0)
    answer: list[Reply] = [now, int(granted)]
    for each in told:
        answer += [each.got, each.left, each.wait, each.mark]
    return answer


def beat(table: Table, keys: Sequence[str], args: Sequence[bytes]) -> Reply:
    """`lua.BEAT`."""
    now = _now(table, args[0])
    me, known, name = args[1].decode(), args[2].decode(), args[3].decode()
    run = _text(table, RUN) or "-"
    marker = (_text(table, keys[0]) or "").split()
    epoch, emptied, shared, before = marker[0] if marker else "", *map(int, marker[1:3] or (0, 0)), marker[-1:] or ["-"]
    if not epoch:
        epoch, emptied = name, 0 if known == "-" else now
    elif before != [run] or (known not in ("-", epoch) and emptied == 0):
        epoch, emptied = name, now
    if args[5] == b"1" and now >= shared:
        shared = now + int(args[6])
    table.set(keys[0], f"{epoch} {emptied} {shared} {run}".encode(), YEAR)
    found = (_text(table, keys[1]) or "").split()
    workers = {who: ends for who, ends in zip(found[::2], found[1::2], strict=True) if int(ends) > now}
    workers = {me: str(now + int(args[4])), **{who: ends for who, ends in workers.items() if who != me}}
    registry = " ".join(f"{who} {ends}" for who, ends in workers.items())
    table.set(keys[1], registry.encode(), int(args[4]) / 1_000_000 + 1.0)
    return [now, epoch.encode(), emptied, shared, len(workers)]


SCRIPTS: Final = (Script("limits.take", TAKE, take), Script("limits.beat", BEAT, beat))
