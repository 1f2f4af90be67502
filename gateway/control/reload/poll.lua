-- A worker notes that its gateway is there, and reads the requests to reload.
--
-- KEYS[1]  the fleet's reloads.
-- ARGV[1]  the name of the worker's gateway.
-- Returns  the name and the text of each request, in turn.

redis.call('HSET', KEYS[1], 'seen:' .. ARGV[1], redis.call('TIME')[1])
local all, requests = redis.call('HGETALL', KEYS[1]), {}
for place = 1, #all, 2 do
  local name = string.match(all[place], '^request:%d+:(.+)$')
  if name then requests[#requests + 1], requests[#requests + 2] = name, all[place + 1] end
end
return requests
