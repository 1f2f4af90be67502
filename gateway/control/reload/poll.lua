-- A worker notes that its gateway is there, and reads which others are, and the requests to reload.
--
-- KEYS[1]  the fleet's reloads.
-- ARGV[1]  the name of the worker's gateway.
-- Returns  the name and the text of each request, in turn; and the names of the gateways that were there in the last
--          three seconds.

local now = redis.call('TIME')[1]
redis.call('HSET', KEYS[1], 'seen:' .. ARGV[1], now)
local all, requests, present = redis.call('HGETALL', KEYS[1]), {}, {}
for place = 1, #all, 2 do
  local name = string.match(all[place], '^request:%d+:(.+)$')
  local gateway = string.match(all[place], '^seen:(.+)$')
  if name then requests[#requests + 1], requests[#requests + 2] = name, all[place + 1] end
  if gateway and now - all[place + 1] <= 3 then present[#present + 1] = gateway end
end
return {requests, present}
