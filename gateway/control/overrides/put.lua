-- Stores an override, in the place of any other of this user.
--
-- KEYS[1]  the overrides.
-- ARGV     the user's digest, and the override.
-- Returns  the new version.

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {redis.call('HINCRBY', KEYS[1], 'version', 1)}
