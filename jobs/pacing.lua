-- Places for calls to MLM, over all workers together, and the circuit that keeps every call back while MLM is away.
-- Redis runs a script whole, so nothing is read and written apart.
--
-- KEYS  1 bulk holders, 2 prompt holders (sorted sets: holder -> end of its lease, us of Redis' clock)
--       3 when the next call would fall due at an even rate (us; ends by itself)
--       4 stands while a prompt call waits for a place (ends by itself)
--       5 the circuit, there while it is open (hash: kind, why, since, window, probe_at (us), probe (its holder), failures)
--       6 failures since the last answer, by file (hash; ends by itself)
-- ARGV  1 "acquire", "refresh" or "release"   2 lease_us
--   acquire: 3 holder  4 "1" if prompt  5 limit  6 kept for prompt  7 interval_us  8 burst  9 of the burst, kept for prompt
--            10 poll_us  11 prompt waits for ms
--     answers {0, 0} granted, {1, us} ask again after that, {2, us} the circuit is open, for so long at least
--   refresh: 3 number of bulk holders, then the bulk holders, then the prompt holders
--   release: 3 holder  4 how the call ended: "answered", "away", "refused" or "unknown"  5 file, or empty  6 why
--            7 failures and 8 files it takes to open  9 failures count for ms  10 first and 11 longest window (us)
--            12 MLM asks for us
--     answers {0, 0} nothing changed, {1, us} the circuit opened, {2, us} it closed after that long, {3, us} the probe
--     failed, {4, us} it is open; us until the next probe

local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format("%.0f", number) end  -- tostring() keeps 14 digits only

local lease_ends = whole(now + ARGV[2])

if ARGV[1] == "refresh" then
    for i = 4, #ARGV do
        redis.call("ZADD", i - 3 <= tonumber(ARGV[3]) and KEYS[1] or KEYS[2], lease_ends, ARGV[i])
    end
    return {0, 0}
end

local holder = ARGV[3]
local probe_at, probe, kind, window = unpack(redis.call("HMGET", KEYS[5], "probe_at", "probe", "kind", "window"))
probe_at, window = tonumber(probe_at), tonumber(window)

if ARGV[1] == "release" then
    local ended = ARGV[4]
    redis.call("ZREM", KEYS[1], holder)
    redis.call("ZREM", KEYS[2], holder)
    if ended == "unknown" then
        if probe == holder then
            redis.call("HDEL", KEYS[5], "probe")  -- the next one leaves when the window is over
        end
        return {0, 0}
    end
    if ended == "answered" then
        redis.call("DEL", KEYS[6])
        if probe ~= holder then  -- a call that had left before the circuit opened says nothing about now
            return {0, 0}
        end
        local since = redis.call("HGET", KEYS[5], "since")
        redis.call("DEL", KEYS[5])
        return {2, now - since}
    end

    local failures, files, longest = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[11])
    local next_window = tonumber(ARGV[10])
    local failed = 1
    if not kind then
        redis.call("HINCRBY", KEYS[6], ARGV[5] == "" and holder or ARGV[5], 1)
        redis.call("PEXPIRE", KEYS[6], ARGV[9])
        local counts = redis.call("HVALS", KEYS[6])
        failed = 0
        for _, count in ipairs(counts) do
            failed = failed + count
        end
        if failed < failures or #counts < files then
            return {0, 0}
        end
        redis.call("HSET", KEYS[5], "since", whole(now))
    elseif probe ~= holder and (kind == ended or ended ~= "refused") then
        return {4, math.max(0, probe_at - now)}
    elseif kind == ended then
        next_window = math.min(window * 2, longest)
    end
    next_window = math.max(next_window, tonumber(ARGV[12]))
    redis.call("HDEL", KEYS[5], "probe")
    redis.call("HINCRBY", KEYS[5], "failures", failed)
    redis.call("HSET", KEYS[5], "kind", ended, "why", ARGV[6],
        "window", whole(next_window), "probe_at", whole(now + next_window))
    return {kind and 3 or 1, next_window}
end

local prompt, limit, kept = ARGV[4] == "1", tonumber(ARGV[5]), tonumber(ARGV[6])
local interval, burst, burst_kept = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local poll = tonumber(ARGV[10])

-- A place: leases that ended are free again.
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", whole(now))
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", whole(now))

-- The circuit: one probe a window, and none beside one that is under way.
if kind then
    local wait = probe_at - now
    if wait <= 0 and probe and (redis.call("ZSCORE", KEYS[1], probe) or redis.call("ZSCORE", KEYS[2], probe)) then
        wait = poll
    end
    if wait > 0 then
        return {2, wait}
    end
end

local bulk_held = redis.call("ZCARD", KEYS[1])
local held = bulk_held + redis.call("ZCARD", KEYS[2])
if prompt then
    if held >= limit then
        redis.call("SET", KEYS[4], 1, "PX", ARGV[11])
        return {1, poll}
    end
elseif held >= limit or bulk_held >= limit - kept or redis.call("EXISTS", KEYS[4]) == 1 then
    return {1, poll}
end

-- The rate (GCRA): a call may come ahead of its even time by the burst. A bulk call by less, so that whatever is kept,
-- and then each place in time as it comes up, goes to a prompt call first.
local due = math.max(now, tonumber(redis.call("GET", KEYS[3]) or 0))
local ahead = (prompt and burst or burst - burst_kept) - 1
local early = due - now - ahead * interval
if early > 0 then
    return {1, math.ceil(early)}
end

due = due + interval
redis.call("SET", KEYS[3], whole(due), "PX", whole(math.ceil((due - now) / 1000) + 1))
redis.call("ZADD", prompt and KEYS[2] or KEYS[1], lease_ends, holder)
if prompt then
    redis.call("DEL", KEYS[4])
end
if kind then
    redis.call("HSET", KEYS[5], "probe", holder, "probe_at", whole(now + window))
end
return {0, 0}
