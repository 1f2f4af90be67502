-- Decides on all checks that wait, in order; a later one sees what the earlier ones took.
--
-- KEYS     the buckets of all checks, each once.
-- ARGV[1]  JSON: a list of charges and a list of checks. A charge is {interval, ceiling, due, 1 if it is enforced or 0
--          if it is a shadow}, in microseconds: it can be paid if what is owed with it is at most the ceiling, or nothing
--          is due. That of a calendar quota has four instants more, at which the periods around now begin, of which this
--          server's clock picks one. A check is a flat list, two positions for each bucket it has to pay: in KEYS, and in
--          the list of charges.
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

local changed = {}
local reply = {now}
for _, check in ipairs(checks) do
  local before = #reply
  local allowed = true
  for at = 1, #check, 2 do
    local charge = charges[check[at + 1]]
    local ceiling = charge[CEILING]
    local owed = owe(check[at], charge[INTERVAL], charge.from or now)
    reply[#reply + 1] = owed
    if charge[ENFORCED] == 1 and owed + charge[DUE] > ceiling and charge[DUE] > 0 then allowed = false end
  end
  if allowed then
    for at = 1, #check, 2 do
      local k, charge = check[at], charges[check[at + 1]]
      local due, from = charge[DUE], charge.from or now
      local owes = reply[before + (at + 1) / 2] + due
      if due > 0 and owes <= charge[CEILING] then
        full_at[k], written_under[k] = from + owes, charge[INTERVAL]
        changed[k] = charge.till or full_at[k]
      end
    end
  end
end
for k, expiry in pairs(changed) do write(k, expiry) end
return reply
