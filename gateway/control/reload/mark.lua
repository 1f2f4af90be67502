-- Writes a field of a request to reload, which lasts a minute, unless the field is there already.
--
-- KEYS[1]  the request.
-- ARGV     the field and its text.
-- Returns  1 if it was written, else 0.

if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return {0} end
redis.call('PEXPIRE', KEYS[1], 60000)
return {1}
