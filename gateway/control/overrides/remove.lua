-- Removes an override, unless it was replaced by another meanwhile.
--
-- KEYS[1]  the overrides.
-- ARGV     the user's digest, and the override.
-- Returns  1 if it was removed, else 0.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {0} end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return {1}
