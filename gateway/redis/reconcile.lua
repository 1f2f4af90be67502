-- Charges to buckets what was decided without them, or what a request cost more than was charged for it; refunds what was
-- taken in vain, or what a request cost less. Never refuses. Mirrors `reconcile` of gateway/limits/debt.py.
--
-- KEYS     buckets.
-- ARGV[1]  JSON: a flat list, seven numbers for each bucket, in the order of KEYS:
--          interval, capacity, due (negative to refund), the largest debt to which this may raise it, the least full_at
--          that the bucket is known to have had, 0 if unknown: this restores a bucket on a server that lost its data;
--          and of a calendar quota, when the period begins and ends in which this was decided, else 0 and 0.
-- Returns  now, then what each bucket owed before it was charged. Of a period that is over here, nothing is charged and
--          nothing owed: all of it came back. One that has not begun by this clock has no room yet.

read()
local debts = cjson.decode(ARGV[1])
local reply = {now}
for k = 1, #KEYS do
  local interval, capacity, due, most, known, start, till = unpack(debts, 7 * k - 6, 7 * k)
  local has_calendar = till > 0
  if not has_calendar then start = now end
  if has_calendar and now >= till then
    reply[k + 1] = 0
  elseif now < start then
    reply[k + 1] = capacity
  else
    local had = owe(k, interval, start)
    local owed = max(had, min(known - start, capacity))
    reply[k + 1] = owed
    local owes
    if due < 0 then
      owes = max(0, owed + due)
    else
      owes = max(owed, min(owed + due, has_calendar and min(most, till - start) or most))
    end
    if owes ~= had then
      full_at[k], written_under[k] = start + owes, interval
      write(k, owes == 0 and 0 or has_calendar and till or full_at[k])
    end
  end
end
return reply
