-- Asks in the name of one user after the other, and prints one line that load.py reads.

local users, user = 1, 0
local before, after

function init(arguments)
    users = tonumber(arguments[1])
    before = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nX-User-Id: "
    after = "\r\n\r\n"
    user = tonumber(arguments[2]) - 1
end

function request()
    user = (user + 1) % users
    return before .. user .. after
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format('BENCH {"requests": %d, "refused": %d, "seconds": %f, "p50": %f, "p99": %f, "broken": %d}',
        summary.requests, errors.status, summary.duration / 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.timeout))
end
