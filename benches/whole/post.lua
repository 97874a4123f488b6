-- wrk's side of a load: POSTs one body over and over, and prints the outcome as one line of JSON.
--
-- Arguments behind `--`: the file with the body, then the headers as name and value in turn.

function init(args)
    local file = assert(io.open(args[1], "rb"))
    wrk.method, wrk.body = "POST", file:read("*a")
    file:close()
    wrk.headers["Content-Type"] = "application/json"
    for i = 2, #args, 2 do
        wrk.headers[args[i]] = args[i + 1]
    end
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        '{"requests": %d, "failed": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f}',
        summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        summary.duration / 1e6,
        latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3
    ))
end
