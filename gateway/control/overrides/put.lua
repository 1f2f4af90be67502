-- Stores an override, in the place of any other of this target.
--
-- KEYS[1]  the overrides.
-- ARGV     the target's digest, and the override.
-- Returns  1.

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
note(KEYS[1], ARGV[1])
return {1}
