-- Charges to buckets what was decided without them, or refunds what was taken in vain. Never refuses.
--
-- KEYS     buckets.
-- ARGV[1]  JSON: a flat list, four numbers for each bucket, in the order of KEYS:
--          interval, capacity, due (negative to refund), and the least full_at that the bucket is known to have had,
--          0 if unknown: this restores a bucket on a server that lost its data.
-- Returns  now, then what each bucket owed before it was charged.

read()
local debts = cjson.decode(ARGV[1])
local reply = {now}
for k = 1, #KEYS do
  local at = 4 * k - 3
  local interval, capacity, due, known = debts[at], debts[at + 1], debts[at + 2], debts[at + 3]
  local had = owe(k, interval, capacity)
  local owed = max(had, min(known - now, capacity))
  reply[k + 1] = owed
  local owes = max(0, min(owed + due, capacity))
  if owes ~= had then
    full_at[k], written_under[k] = now + owes, interval
    write(k)
  end
end
return reply
