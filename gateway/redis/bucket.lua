-- The data model, and the law of gateway/limits/bucket.py in Lua. Every script that touches a bucket starts with this.
--
-- A bucket is a string key, <prefix>:bucket:<limit>:<endpoint>:<user>, that holds "<full_at> <interval>":
--   full_at   the instant at which the bucket is full again, microseconds since 1970 by this server's clock;
--   interval  microseconds a token took to come back when this was written.
-- A key expires at full_at, rounded up to a millisecond: a bucket that is full has no key.
-- Of a calendar quota, full_at is the start of the period in which it was written plus what was used, interval is 1, and
-- the key expires when the period ends.
-- To look at one: GET it. To fill it: DEL it.
--
-- The bucket of a limit of requests at once is a hash, that has the number of requests in flight of each worker under
-- "<joined> <name>": the instant at which the worker joined the fleet, and its name. To look at one: HGETALL it.
--
-- <prefix>:fleet is a sorted set: the workers of the fleet (all gateways on this Redis), scored by when they were last
-- heard (same clock).
--
-- Lua's numbers are doubles. Whole numbers below 2^53 are exact in them as long as nothing rounds on the way: hence
-- math.fmod rather than %, string.format('%.0f') rather than tostring. Redis itself writes numbers with 17 digits.

local call, fmod, ceil, min, max = redis.call, math.fmod, math.ceil, math.min, math.max
local match, format = string.match, string.format

local LARGEST_DEBT = 2251799813685248  -- as in gateway/limits/quota.py

local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full_at, written_under = {}, {}  -- by position in KEYS; a bucket that is not there is full

local function read()
  for k, text in ipairs(call('MGET', unpack(KEYS))) do
    if text then
      local instant, interval = match(text, '^(%d+) (%d+)$')
      if instant then full_at[k], written_under[k] = tonumber(instant), tonumber(interval) end
    end
  end
end

-- Microseconds until bucket k is full. They count from now, or from the start of a calendar's period.
local function owe(k, interval, from)
  local debt = (full_at[k] or 0) - from
  if debt <= 0 then return 0 end
  local old = written_under[k]
  if old ~= interval then
    local part = fmod(debt, old)
    debt = (debt - part) / old * interval + ceil(part * interval / old)
  end
  return min(debt, LARGEST_DEBT)
end

local function write(k, expiry)
  if expiry > now then
    -- An instant rather than a time to live: Redis counts the latter from when the script began, which is before TIME.
    -- A server that was held up in between would drop the bucket by so much too early.
    call('SET', KEYS[k], format('%.0f %.0f', full_at[k], written_under[k]), 'PXAT', ceil(expiry / 1000))
  else
    call('DEL', KEYS[k])
  end
end
