-- Asks in the name of one user after the other, and prints one line that load.py reads.

local users, user = 1, 0
local before, after
local path, body_before, body_after

function init(arguments)
    users = tonumber(arguments[1])
    before = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nX-User-Id: "
    after = "\r\n\r\n"
    if arguments[3] then
        path = arguments[3]
        body_before, body_after = arguments[4]:match("^(.*)@user@(.*)$")
        wrk.headers["Content-Type"] = "application/json"
    end
    user = tonumber(arguments[2]) - 1
end

function request()
    user = (user + 1) % users
    if path then
        return wrk.format("POST", path, nil, body_before .. user .. body_after)
    end
    return before .. user .. after
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format('BENCH {"requests": %d, "refused": %d, "seconds": %f, "p50": %f, "p99": %f, "broken": %d}',
        summary.requests, errors.status, summary.duration / 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.timeout))
end
