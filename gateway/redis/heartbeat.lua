-- Records that a worker is alive, and counts the workers.
--
-- KEYS[1]  the workers of the fleet, see bucket.lua.
-- ARGV     the worker's name; how long a worker may be silent before it is removed, or 0 to remove none;
--          the instant since which a worker must have been heard to count as present (all in microseconds).
-- Returns  now, workers in the fleet, those present, 1 if this worker was in the fleet before, and the names of those in
--          the fleet.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local expiry = tonumber(ARGV[2])
local added = redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
if expiry > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - expiry))
end
redis.call('PEXPIRE', KEYS[1], 86400000)
local names = redis.call('ZRANGE', KEYS[1], 0, -1)
return {now, #names, redis.call('ZCOUNT', KEYS[1], ARGV[3], '+inf'), 1 - added, unpack(names)}
