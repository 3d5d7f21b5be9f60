-- Sends requests rendered beforehand, each once: FILE holds them, each behind its length in four bytes, lowest first.
-- `-- FILE OFFSET`: from there on. Its last line says in JSON what came of it; `next` is where it stopped reading.

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    file = assert(io.open(args[1], "rb"))
    file:seek("set", tonumber(args[2]))
    sent, not_200, ran_out, asked = 0, 0, false, false
end

local function read()
    local head = file:read(4)
    if not head then
        return nil
    end
    local a, b, c, d = head:byte(1, 4)
    return file:read(a + 256 * (b + 256 * (c + 256 * d)))
end

function request()
    if not asked then -- wrk looks at one request before it sends any
        asked = true
        local here = file:seek()
        last = read()
        file:seek("set", here)
        return last
    end
    local found = read()
    if not found then
        ran_out = true
        wrk.thread:stop()
        return last
    end
    sent, last, place = sent + 1, found, file:seek()
    return found
end

function response(status)
    if status ~= 200 then
        not_200 = not_200 + 1
    end
end

function done(summary, latency, requests)
    local thread, errors = threads[1], summary.errors
    print(string.format(
        '{"answered": %d, "sent": %d, "next": %d, "ran_out": %s, "took_us": %d, "not_200": %d, "lost": %d, '
            .. '"ms": {"p50": %.3f, "p90": %.3f, "p99": %.3f, "p99.9": %.3f, "max": %.3f}}',
        summary.requests, thread:get("sent"), thread:get("place"), tostring(thread:get("ran_out")), summary.duration,
        thread:get("not_200"), errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000,
        latency:percentile(99.9) / 1000, latency.max / 1000
    ))
end
