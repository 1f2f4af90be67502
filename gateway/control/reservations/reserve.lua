-- Stores a reservation.
--
-- KEYS[1]  the reservation: a hash.
-- ARGV     what was charged, as JSON; the milliseconds in which it can be settled.
-- Returns  1.

redis.call('HSET', KEYS[1], 'charged', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1}
