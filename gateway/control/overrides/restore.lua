-- Stores all overrides again, if Redis has lost them and no other worker has restored them yet.
--
-- KEYS[1]  the overrides.
-- ARGV     fields and values in turn, the version among them.
-- Returns  1 if they were stored, else 0.

if redis.call('EXISTS', KEYS[1]) == 1 then return {0} end
for place = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
return {1}
