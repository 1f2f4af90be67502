-- The version of the overrides is the pair (generation, number): `generation` is when they were first set or last
-- replaced as a whole, in microseconds, and `number` counts the changes since. The digests of the last changes are kept
-- in the same hash, so that a worker loads what has changed and not everything.

local KEPT = 1000

-- The version of a hash of overrides; zeros if there is none.
local function version(key)
    local found = redis.call('HMGET', key, 'generation', 'number')
    return tonumber(found[1] or 0), tonumber(found[2] or 0)
end

local function microseconds()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

-- Notes that the override of one target has changed.
local function note(key, digest)
    if version(key) == 0 then redis.call('HSET', key, 'generation', string.format('%.0f', microseconds())) end
    local number = redis.call('HINCRBY', key, 'number', 1)
    redis.call('HSET', key, 'change:' .. number, digest)
    redis.call('HDEL', key, 'change:' .. (number - KEPT))
end
