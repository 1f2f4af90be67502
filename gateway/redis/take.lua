-- Decides on all checks that wait, in order; a later one sees what the earlier ones took.
--
-- KEYS     the buckets of all checks, each once.
-- ARGV[1]  JSON: a list of charges and a list of checks. A charge is {interval, ceiling, due, 1 if it is enforced or 0
--          if it is a shadow}, in microseconds: it can be paid if what is owed with it is at most the ceiling, or nothing
--          is due. That of a calendar quota has four instants more, at which the periods around now begin, of which this
--          server's clock picks one. The interval is 0 if it is a bucket of requests at once. A check is a flat list, two
--          positions for each bucket it has to pay: in KEYS, and in the list of charges.
-- ARGV[2]  Only if there are buckets of requests at once, JSON: the worker that asks, as in bucket.lua; the instant after
--          which this call changes none of them; when that worker last saw the fleet, and the names in it; and a flat
--          list, for each of these buckets its position in KEYS and the worker's true number.
-- Returns  now, then what each bucket owed before, check by check. The caller derives the rest from that.

read()
local INTERVAL, CEILING, DUE, ENFORCED, STARTS = 1, 2, 3, 4, 5
local charges, checks = unpack(cjson.decode(ARGV[1]))

for _, charge in ipairs(charges) do
  if charge[STARTS] then
    local at = STARTS
    while at < STARTS + 2 and now >= charge[at + 1] do at = at + 1 end
    charge.from, charge.till = charge[at], charge[at + 1]
  end
end

-- Requests in flight that count: those of the worker that asks, and of workers that were in the fleet when that one last
-- saw it or that joined later. The rest died, and is removed; so is what this worker wrote before it joined again.
local in_flight, own, stored, me, is_stale = {}, {}, {}, nil, nil
if ARGV[2] then
  local deadline, seen_at, names, numbers
  me, deadline, seen_at, names, numbers = unpack(cjson.decode(ARGV[2]))
  is_stale = now > deadline
  local alive = {}
  for _, name in ipairs(names) do alive[name] = true end
  local my_name = match(me, ' (.+)$')
  for at = 1, #numbers, 2 do
    local k, others = numbers[at], 0
    own[k] = numbers[at + 1]
    local fields = call('HGETALL', KEYS[k])
    for f = 1, #fields, 2 do
      local joined, name = match(fields[f], '^(%d+) (.+)$')
      if fields[f] == me then
        stored[k] = tonumber(fields[f + 1])
      elseif joined and (alive[name] or tonumber(joined) > seen_at) and name ~= my_name then
        others = others + tonumber(fields[f + 1])
      elseif not is_stale then
        call('HDEL', KEYS[k], fields[f])
      end
    end
    in_flight[k] = others + own[k]
  end
end

local changed = {}
local reply = {now}
for _, check in ipairs(checks) do
  local before = #reply
  local allowed = true
  for at = 1, #check, 2 do
    local charge = charges[check[at + 1]]
    local ceiling = charge[CEILING]
    local owed = in_flight[check[at]] or owe(check[at], charge[INTERVAL], charge.from or now)
    reply[#reply + 1] = owed
    if charge[ENFORCED] == 1 and owed + charge[DUE] > ceiling and charge[DUE] > 0 then allowed = false end
  end
  if allowed then
    for at = 1, #check, 2 do
      local k, charge = check[at], charges[check[at + 1]]
      local due, from = charge[DUE], charge.from or now
      local owes = reply[before + (at + 1) / 2] + due
      if due > 0 and owes <= charge[CEILING] and in_flight[k] then
        in_flight[k], own[k] = in_flight[k] + due, own[k] + due
      elseif due > 0 and owes <= charge[CEILING] then
        full_at[k], written_under[k] = from + owes, charge[INTERVAL]
        changed[k] = charge.till or full_at[k]
      end
    end
  end
end
for k, expiry in pairs(changed) do write(k, expiry) end
for k, number in pairs(is_stale and {} or own) do
  if number > 0 then
    if number ~= stored[k] then call('HSET', KEYS[k], me, number) end
    call('PEXPIRE', KEYS[k], 3600000)  -- each worker writes its numbers again long before
  elseif stored[k] then
    call('HDEL', KEYS[k], me)
  end
end
return reply
