"""What the cache does at the store in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from portico.state.store import Reply, Script, Table

GENERATIONS: Final = "cache:g:"  # how keys of generations begin
ENTRY: Final = b"E"  # how a kept entry begins
GRAVE: Final = b"T"  # how a tombstone begins
HEAD: Final = 9  # bytes: this letter, then eight that nothing else has

# Keys: an entry, then generations. Arguments: a new generation, milliseconds that one lives.
READ: Final = """
local found = {redis.call('GET', KEYS[1])}
for i = 2, #KEYS do
  local current = redis.call('GET', KEYS[i])
  if not current then
    current = ARGV[1]
    redis.call('SET', KEYS[i], current, 'PX', ARGV[2])
  end
  found[i] = current
end
return found
"""

# Keys: an entry, then generations. Arguments: the head of what was there when the work began, milliseconds that the
# entry lives, the entry ('' to keep nothing), the generations of then. 0: what was computed may be out of date.
WRITE: Final = """
local current = redis.call('GETRANGE', KEYS[1], 0, 8)
if current ~= '' and current ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  if redis.call('GET', KEYS[i]) ~= ARGV[i + 2] then return 0 end
end
if ARGV[3] ~= '' then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
return 1
"""


def _read(table: Table, keys: Sequence[str], args: Sequence[bytes]) -> Reply:
    found: list[Reply] = [table.get(keys[0])]
    for key in keys[1:]:
        current = table.get(key)
        if current is None:
            current = args[0]
            table.set(key, current, int(args[1]) / 1000)
        found.append(current)
    return found


def _write(table: Table, keys: Sequence[str], args: Sequence[bytes]) -> Reply:
    head, lifetime, entry, *generations = args
    current = (table.get(keys[0]) or b"")[:HEAD]
    if current not in (b"", head) or [table.get(key) for key in keys[1:]] != generations:
        return 0
    if entry:
        table.set(keys[0], entry, int(lifetime) / 1000)
    return 1


CACHE: Final = (Script("cache.read", READ, _read), Script("cache.write", WRITE, _write))
