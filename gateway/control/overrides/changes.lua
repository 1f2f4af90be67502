-- Returns what has changed since a version.
--
-- KEYS[1]  the overrides.
-- ARGV     the version: generation and number.
-- Returns  the generation and number now; 1 if what has changed since is known, else 0; then digests of targets and
--          overrides in turn, an empty text for one that was removed.

local generation, number = version(KEYS[1])
local known = tonumber(ARGV[2])
if generation ~= tonumber(ARGV[1]) or known > number or number - known > KEPT then return {generation, number, 0} end
local reply, seen = {generation, number, 1}, {}
for each = known + 1, number do
    local digest = redis.call('HGET', KEYS[1], 'change:' .. each)
    if not digest then return {generation, number, 0} end
    if not seen[digest] then
        seen[digest] = true
        reply[#reply + 1] = digest
        reply[#reply + 1] = redis.call('HGET', KEYS[1], digest) or ''
    end
end
return reply
