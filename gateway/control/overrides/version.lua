-- KEYS[1]  the overrides.
-- Returns  their version, as generation and number, zeros if there never were any or Redis has lost them; and how often
--          all workers were told to forget what they know of buckets.

local generation, number = version(KEYS[1])
return {generation, number, tonumber(redis.call('HGET', KEYS[1], 'touches') or 0)}
