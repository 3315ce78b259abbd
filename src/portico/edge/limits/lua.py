"""What limits do at Redis, in one call each. `twins` says the same in Python, and the tests hold the two together.

All times are whole microseconds of the store's clock. Every entry is set with a time to live.
"""

from __future__ import annotations

from typing import Final

# Keys: the marker, the registry of workers, then one bucket for each part. Arguments: now (0: the server's clock), the
# epoch, the worker, 1 to look only; then for each part: kind, most, unit, want, back, lapse, since, mark, need, owe,
# debt. `need` is what one request takes, `owe` what earlier ones took more (less, if negative; then `mark` says where),
# and `debt` how far beyond the limit that may go.
# Answer: {-1} when the epoch is over; else now, 1 when all parts are granted (else none is), and for each part: how
# many are granted, how many are left, microseconds until there will be more, and a mark to give back by.
TAKE: Final = """
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local epoch, emptied = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+)')
if epoch ~= ARGV[2] then return {-1} end
emptied = tonumber(emptied)
local me, looks = ARGV[3], ARGV[4] == '1'

local function words(text)
  local found = {}
  for word in string.gmatch(text or '', '%S+') do found[#found + 1] = word end
  return found
end

local function number(value) return string.format('%.0f', value) end

local function rate(text, most, unit, want, back, lapse, since, mark, need, owe, debt)
  local full, found = most * unit, words(text)
  local tat, leases, held = 0, {}, 0
  if text then tat = tonumber(found[1]) elseif emptied > 0 then tat = emptied + full end
  for i = 2, #found, 3 do
    leases[#leases + 1] = {found[i], tonumber(found[i + 1]), tonumber(found[i + 2])}
    held = held + tonumber(found[i + 1])
  end
  if since > 0 then tat = math.max(tat, since + full) end
  table.sort(leases, function(a, b) return a[3] < b[3] or (a[3] == b[3] and a[1] < b[1]) end)
  while leases[1] and leases[1][3] <= now do
    tat = math.max(tat, leases[1][3] + held * unit)
    held = held - leases[1][2]
    table.remove(leases, 1)
  end
  tat = math.max(math.max(tat, now + held * unit) + owe * unit, now + held * unit)
  tat = math.min(tat, now + full + debt * unit)
  for i = #leases, 1, -1 do
    if back >= 0 and leases[i][1] == me then
      tat = tat - math.min(back, leases[i][2]) * unit
      held = held - leases[i][2]
      table.remove(leases, i)
    end
  end
  local got = 0
  if want > need and (held + want) * 4 <= most and tat + want * unit <= now + full then got = want
  elseif want >= need and tat + need * unit <= now + full then got = need end
  local function told(ahead, own)
    local out, last = {number(ahead)}, ahead
    for i = 1, #leases do
      out[#out + 1] = leases[i][1] .. ' ' .. number(leases[i][2]) .. ' ' .. number(leases[i][3])
      last = math.max(last, leases[i][3])
    end
    if own > 0 then
      out[#out + 1] = me .. ' ' .. number(own) .. ' ' .. number(now + lapse)
      last = math.max(last, now + lapse)
    end
    return table.concat(out, ' '), last - now
  end
  local after = tat + got * unit
  local wait = got > 0 and after - now or tat + need * unit - now - full
  local without, keep = told(tat, 0)
  local with, kept = told(after, got > need and got or 0)
  return got, math.max(0, math.floor((now + full - after) / unit)), wait, 0, without, keep, with, kept
end

local function window(text, most, unit, want, back, lapse, since, mark, need, owe)
  local function part(time) return math.floor(time / unit) * 60 + math.floor((time % unit) * 60 / unit) end
  local function start(cell) return math.floor(cell / 60) * unit + (cell % 60) * unit / 60 end
  local cells, found, total, current = {}, words(text), 0, part(now)
  for i = 1, #found, 2 do cells[tonumber(found[i])] = tonumber(found[i + 1]) end
  if not text and emptied > 0 then cells[part(emptied)] = most end
  for cell, count in pairs(cells) do
    if cell < current - 60 then cells[cell] = nil else total = total + count end
  end
  local given = math.max(back, -owe)
  if given > 0 and cells[mark] then
    given = math.min(given, cells[mark])
    cells[mark] = cells[mark] > given and cells[mark] - given or nil
    total = total - given
  end
  if owe > 0 then cells[current], total = (cells[current] or 0) + owe, total + owe end
  local function told()
    local order = {}
    for cell in pairs(cells) do order[#order + 1] = cell end
    table.sort(order)
    local out = {}
    for i = 1, #order do out[i] = number(order[i]) .. ' ' .. number(cells[order[i]]) end
    local last = order[#order] or current
    return table.concat(out, ' '), math.floor(start(last + 61)) - now, order[1] or current
  end
  local without, keep, oldest = told()
  local got, cell = 0, current
  if want > need and want * 4 <= most and total + want <= most then
    got, cell = want, part(now + lapse)
  elseif want >= need and total + need <= most then got = need end
  if got > 0 then cells[cell] = (cells[cell] or 0) + got end
  local with, kept, first = told()
  local wait = math.ceil(start((got > 0 and first or oldest) + 61)) - now
  return got, math.max(0, most - total - got), wait, cell, without, keep, with, kept
end

local function quota(text, most, unit, want, back, lapse, since, mark, need, owe)
  local found, today = words(text), math.floor(now / 86400000000)
  local day, count = tonumber(found[1] or today), tonumber(found[2] or 0)
  if day < today then day, count = today, 0 end
  if mark == day then count = math.max(count, since) end
  local given = math.max(back, -owe)
  if given > 0 and mark == day then count = math.max(0, count - given) end
  if owe > 0 then count = count + owe end
  local got = 0
  if want > need and want * 4 <= most and count + want <= most then got = want
  elseif want >= need and count + need <= most then got = need end
  local ends = (day + 1) * 86400000000 - now
  local without, with = number(day) .. ' ' .. number(count), number(day) .. ' ' .. number(count + got)
  return got, math.max(0, most - count - got), ends, day, without, ends, with, ends
end

local function slots(text, most, unit, want, back, lapse)
  if emptied > 0 and now < emptied + 1500000 then most = 0 end -- until all workers have told again what they hold
  local alive, found, out, others = {}, words(redis.call('GET', KEYS[2])), {}, 0
  for i = 1, #found, 2 do alive[found[i]] = tonumber(found[i + 1]) > now end
  found = words(text)
  for i = 1, #found, 2 do
    if found[i] ~= me then
      out[#out + 1] = found[i] .. ' ' .. found[i + 1]
      if alive[found[i]] then others = others + tonumber(found[i + 1]) end
    end
  end
  local got = (want >= 1 and others + back + want <= most) and want or 0
  local function told(own)
    local all = table.concat(out, ' ')
    return own > 0 and all .. (#out > 0 and ' ' or '') .. me .. ' ' .. number(own) or all
  end
  return got, math.max(0, most - others - back - got), 1000000, 0, told(back), lapse, told(back + got), lapse
end

local kinds = {rate = rate, window = window, quota = quota, slots = slots}
local answer, set, granted = {now, 1}, {}, true
for i = 3, #KEYS do
  local at = 5 + (i - 3) * 11
  local a = {}
  for j = 1, 10 do a[j] = tonumber(ARGV[at + j]) end
  local text = redis.call('GET', KEYS[i]) or nil
  local got, left, wait, mark, without, keep, with, kept = kinds[ARGV[at]](text, unpack(a))
  for _, value in ipairs({got, left, wait, mark}) do answer[#answer + 1] = value end
  set[i] = {without, keep, with, kept}
  if a[3] > 0 and got == 0 then granted = false end
end
if not granted then answer[2] = 0 end
if not looks then
  for i = 3, #KEYS do
    local value, left = set[i][1], set[i][2]
    if granted then value, left = set[i][3], set[i][4] end
    redis.call('SET', KEYS[i], value, 'PX', number(math.ceil(math.max(left, 0) / 1000) + 1000))
  end
end
return answer
"""

# Keys: the marker, the registry. Arguments: now (0: the server's clock), the worker, the epoch that it knows ('-':
# none), the name of a new one, microseconds that a worker lives without a beat, 1 when it has shared out tokens of its
# own since its last beat, microseconds until all workers should have found the store again.
# Answer: now, the epoch, when its buckets began empty (0: they began full), when shares end (0: never), live workers.
BEAT: Final = """
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local function number(value) return string.format('%.0f', value) end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '-'
local marker = redis.call('GET', KEYS[1])
local epoch, emptied, shared, before = string.match(marker or '', '^(%S+) (%d+) (%d+) (%S+)')
emptied, shared = tonumber(emptied or 0), tonumber(shared or 0)
local known = ARGV[3]
if not epoch then
  epoch, emptied = ARGV[4], known == '-' and 0 or now
elseif before ~= run or (known ~= '-' and known ~= epoch and emptied == 0) then
  epoch, emptied = ARGV[4], now
end
if ARGV[6] == '1' and now >= shared then shared = now + tonumber(ARGV[7]) end
redis.call('SET', KEYS[1], table.concat({epoch, number(emptied), number(shared), run}, ' '), 'PX', '31536000000')
local out, count = {ARGV[2], number(now + tonumber(ARGV[5]))}, 1
local who
for word in string.gmatch(redis.call('GET', KEYS[2]) or '', '%S+') do
  if not who then who = word else
    if who ~= ARGV[2] and tonumber(word) > now then
      out[#out + 1], out[#out + 2], count = who, word, count + 1
    end
    who = nil
  end
end
redis.call('SET', KEYS[2], table.concat(out, ' '), 'PX', number(math.ceil(tonumber(ARGV[5]) / 1000) + 1000))
return {now, epoch, emptied, shared, count}
"""
