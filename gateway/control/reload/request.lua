-- Requests a reload of all gateways, and removes old requests and gateways that are gone.
--
-- KEYS[1]  the fleet's reloads.
-- ARGV     the name and the text of the request.
-- Returns  the names of the gateways that were there in the last three seconds.

local now, present = redis.call('TIME')[1], {}
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local gateway, requested = string.match(all[place], '^seen:(.+)$'), string.match(all[place], '^request:(%d+):')
  if gateway and now - all[place + 1] <= 3 then present[#present + 1] = gateway
  elseif not requested or now - requested > 60 then redis.call('HDEL', KEYS[1], all[place]) end
end
redis.call('HSET', KEYS[1], 'request:' .. now .. ':' .. ARGV[1], ARGV[2])
return present
