-- Removes overrides, but for those that were replaced by others meanwhile.
--
-- KEYS[1]  the overrides.
-- ARGV     digests of targets and overrides in turn.
-- Returns  for each override, 1 if it was removed, else 0.

local removed = {}
for place = 1, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[place]) == ARGV[place + 1] then
        redis.call('HDEL', KEYS[1], ARGV[place])
        note(KEYS[1], ARGV[place])
        removed[#removed + 1] = 1
    else
        removed[#removed + 1] = 0
    end
end
return removed
