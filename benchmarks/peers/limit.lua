-- The limit of `nginx + Lua + Redis`: both buckets in one script call, over a connection that is kept.
-- A failure of Redis is an error here; what a gateway in production would add costs nothing on this path.

local redis = require "nginx.redis"
local exit, var = ngx.exit, ngx.var

return function()
    local client = redis:new()
    client:set_timeout(5000)
    local ok = client:connect("127.0.0.1", @redis@)
    if not ok then return exit(503) end
    local allowed = client:evalsha("@sha@", 2, "user:" .. (var.http_x_user_id or var.remote_addr), "endpoint:orders",
        @user_interval@, @user_burst@, @endpoint_interval@, @endpoint_burst@)
    if not allowed then return exit(503) end
    client:set_keepalive(60000, 256)
    if allowed == 0 then return exit(429) end
end
