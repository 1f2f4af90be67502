-- Notes what a reservation has cost, unless that was noted before: whoever is first settles it.
--
-- KEYS[1]  the reservation.
-- ARGV     its cost in tokens; the milliseconds for which a repeated call gets the same answer, at least.
-- Returns  nothing if there is no such reservation, or its time is over; else what was charged, the cost that counts, and
--          1 if that is the one of this call.

local charged = redis.call('HGET', KEYS[1], 'charged')
if not charged then return {} end
local is_first = redis.call('HSETNX', KEYS[1], 'cost', ARGV[1])
if is_first == 1 and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {charged, redis.call('HGET', KEYS[1], 'cost'), is_first}
