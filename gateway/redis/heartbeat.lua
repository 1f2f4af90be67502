-- A worker says that it is there, and learns how many there are.
--
-- KEYS[1]  the fleet.
-- ARGV     the worker's name; how long a worker may be silent before it is struck off, or 0 to strike off nobody;
--          the instant since which a worker counts as present (microseconds all).
-- Returns  now, workers in the fleet, those present, and 1 if this worker had been in it before.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local silence = tonumber(ARGV[2])
local added = redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
if silence > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - silence))
end
redis.call('PEXPIRE', KEYS[1], 86400000)
return {now, redis.call('ZCARD', KEYS[1]), redis.call('ZCOUNT', KEYS[1], ARGV[3], '+inf'), 1 - added}
