-- Charges token buckets: the mirror, in Redis, of `take` in gateway/limits/bucket.py.
--
-- A bucket is a string, "<full_at> <interval>": the instant at which it is full again, in microseconds of this server's
-- clock, and the microseconds a token took to come back when that was written. No key, full bucket: the key lives until
-- that instant. Several checks are decided in one call, one after the other, as if each had come alone.
--
-- KEYS          every bucket of the call, once.
-- ARGV          number of charges, then of each charge: due, capacity, interval (microseconds), enforced (1 or 0);
--               then of each check: number of buckets, and of each bucket the position of its key and of its charge.
-- Returns       this server's clock, then what each bucket of each check owed before, all in microseconds. Whoever asked
--               judges by the same rule as here: owed + due <= capacity for all enforced buckets, or nothing is taken.
--
-- All numbers are whole and below 2^53, where doubles are exact. Lua 5.1's % and floor of a quotient are not exact for
-- large numbers, math.fmod is; its tostring keeps 14 digits, '%.0f' keeps all.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local stored = redis.call('MGET', unpack(KEYS))
local full_at, every, written = {}, {}, {}
for key = 1, #KEYS do
  local at, interval = nil, nil
  if stored[key] then at, interval = string.match(stored[key], '^(%d+) (%d+)$') end
  full_at[key], every[key] = tonumber(at) or 0, tonumber(interval) or 1
end

local arg = 1
local function next_number()
  arg = arg + 1
  return tonumber(ARGV[arg])
end

local due, capacity, interval, enforced = {}, {}, {}, {}
for charge = 1, tonumber(ARGV[1]) do
  due[charge], capacity[charge], interval[charge], enforced[charge] =
    next_number(), next_number(), next_number(), ARGV[arg + 1] == '1'
  arg = arg + 1
end

local function owe(key, charge)
  local debt = full_at[key] - now
  if debt <= 0 then return 0 end
  if every[key] ~= interval[charge] then
    local part = math.fmod(debt, every[key])
    debt = (debt - part) / every[key] * interval[charge] + math.ceil(part * interval[charge] / every[key])
  end
  return math.min(debt, capacity[charge])
end

local reply = { now }
while arg < #ARGV do
  local buckets, allowed = {}, true
  for n = 1, next_number() do
    local key, charge = next_number(), next_number()
    local owed = owe(key, charge)
    local pays = owed + due[charge] <= capacity[charge]
    allowed = allowed and (pays or not enforced[charge])
    buckets[n] = { key, charge, owed, pays }
    reply[#reply + 1] = owed
  end
  if allowed then
    for _, bucket in ipairs(buckets) do
      local key, charge, owed, pays = bucket[1], bucket[2], bucket[3], bucket[4]
      if pays and due[charge] > 0 then
        full_at[key], every[key], written[key] = now + owed + due[charge], interval[charge], true
      end
    end
  end
end

for key in pairs(written) do
  redis.call('SET', KEYS[key], string.format('%.0f %.0f', full_at[key], every[key]),
    'PX', string.format('%.0f', math.ceil((full_at[key] - now) / 1000)))
end
return reply
