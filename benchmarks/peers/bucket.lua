-- The script of `nginx + Lua + Redis` and of `plain aiohttp`: token buckets, one number each (the instant at which it
-- is full again), all charged or none. As lean as we know to write it.
--
-- KEYS  the buckets.    ARGV  of each: microseconds a token takes to come back, tokens it holds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = redis.call('MGET', unpack(KEYS))
for k = 1, #KEYS do
  local interval = tonumber(ARGV[2 * k - 1])
  local instant = math.max(tonumber(full_at[k] or 0), now) + interval
  if instant - now > interval * ARGV[2 * k] then return 0 end
  full_at[k] = instant
end
for k = 1, #KEYS do
  redis.call('SET', KEYS[k], string.format('%.0f', full_at[k]), 'PX', math.ceil((full_at[k] - now) / 1000))
end
return 1
