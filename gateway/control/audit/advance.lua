-- Notes the end of an audit log, unless a later one is noted already.
--
-- KEYS[1]  the hash for this log.
-- ARGV     the sequence and the hash of its last line.
-- Returns  1.

if tonumber(redis.call('HGET', KEYS[1], 'sequence') or '0') < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'sequence', ARGV[1], 'hash', ARGV[2])
end
return {1}
