-- Decides all checks that wait, in their order; a later one sees what the earlier ones took.
--
-- KEYS     the buckets of all checks, each once.
-- ARGV[1]  JSON: a list of checks. A check is a flat list, five numbers for each bucket it has to pay:
--          position in KEYS, interval, capacity, due, 1 if it is enforced or 0 if it is a shadow (all microseconds).
-- Returns  now, then what each bucket owed before, in the order of ARGV[1]. The caller derives the rest from that.

read()
local changed = {}
local reply = {now}
for _, check in ipairs(cjson.decode(ARGV[1])) do
  local debts = {}  -- by place in the check: what the bucket will owe, where it can pay
  local allowed = true
  for at = 1, #check, 5 do
    local capacity, due = check[at + 2], check[at + 3]
    local owed = owe(check[at], check[at + 1], capacity)
    reply[#reply + 1] = owed
    if owed + due > capacity then
      if check[at + 4] == 1 then allowed = false end
    elseif due > 0 then
      debts[at] = owed + due
    end
  end
  if allowed then
    for at = 1, #check, 5 do
      if debts[at] then
        local k = check[at]
        full_at[k], written_under[k], changed[k] = now + debts[at], check[at + 1], true
      end
    end
  end
end
for k in pairs(changed) do write(k) end
return reply
