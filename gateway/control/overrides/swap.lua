-- Puts gathered overrides in the place of all others, unless those have changed meanwhile.
--
-- KEYS     the overrides; where the new ones are gathered; a name for the old ones while they are removed.
-- ARGV     the version that is to be replaced, as generation and number; how many the new ones are.
-- Returns  1 if they were replaced, 0 if the version is another by now, -1 if the new ones are not complete.

local generation, number = version(KEYS[1])
if generation ~= tonumber(ARGV[1]) or number ~= tonumber(ARGV[2]) then return {0} end
if redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[3]) then return {-1} end
local touches = redis.call('HGET', KEYS[1], 'touches') or '0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('RENAME', KEYS[1], KEYS[3])
    redis.call('UNLINK', KEYS[3]) -- RENAME onto the key would remove the old ones at once, and block Redis
end
if ARGV[3] ~= '0' then
    redis.call('RENAME', KEYS[2], KEYS[1])
    redis.call('PERSIST', KEYS[1])
end
local now = string.format('%.0f', math.max(microseconds(), generation + 1))
redis.call('HSET', KEYS[1], 'generation', now, 'number', '0', 'touches', touches)
return {1}
