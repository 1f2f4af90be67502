-- Adds to the overrides that are to replace all others.
--
-- KEYS[1]  where they are gathered.
-- ARGV     milliseconds to keep them; then digests of targets and overrides in turn.
-- Returns  1.

for place = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {1}
