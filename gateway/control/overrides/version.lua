-- KEYS[1]  the overrides.
-- Returns  their version; 0 if there never were any, or Redis has lost them.

return {tonumber(redis.call('HGET', KEYS[1], 'version') or 0)}
