-- Places for calls to MLM, over all workers together. Redis runs a script whole, so nothing is read and written apart.
--
-- KEYS  1 bulk holders, 2 prompt holders (sorted sets: holder -> end of its lease, us of Redis' clock)
--       3 when the next call would fall due at an even rate (us; ends by itself)
--       4 stands while a prompt call waits for a place (ends by itself)
-- ARGV  1 "acquire" or "refresh"   2 lease_us
--   acquire: 3 holder  4 "1" if prompt  5 limit  6 kept for prompt  7 interval_us  8 burst  9 of the burst, kept for prompt
--            10 poll_us  11 prompt waits for ms
--   refresh: 3 number of bulk holders, then the bulk holders, then the prompt holders
-- Answers 0: granted, or else after how many us to ask again.

local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format("%.0f", number) end  -- tostring() keeps 14 digits only

local lease_ends = whole(now + ARGV[2])

if ARGV[1] == "refresh" then
    for i = 4, #ARGV do
        redis.call("ZADD", i - 3 <= tonumber(ARGV[3]) and KEYS[1] or KEYS[2], lease_ends, ARGV[i])
    end
    return 0
end

local prompt, limit, kept = ARGV[4] == "1", tonumber(ARGV[5]), tonumber(ARGV[6])
local interval, burst, burst_kept = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

-- A place: leases that ended are free again.
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", whole(now))
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", whole(now))
local bulk_held = redis.call("ZCARD", KEYS[1])
local held = bulk_held + redis.call("ZCARD", KEYS[2])
if prompt then
    if held >= limit then
        redis.call("SET", KEYS[4], 1, "PX", ARGV[11])
        return tonumber(ARGV[10])
    end
elseif held >= limit or bulk_held >= limit - kept or redis.call("EXISTS", KEYS[4]) == 1 then
    return tonumber(ARGV[10])
end

-- The rate (GCRA): a call may come ahead of its even time by the burst. A bulk call by less, so that whatever is kept,
-- and then each place in time as it comes up, goes to a prompt call first.
local due = math.max(now, tonumber(redis.call("GET", KEYS[3]) or 0))
local ahead = (prompt and burst or burst - burst_kept) - 1
local early = due - now - ahead * interval
if early > 0 then
    return math.ceil(early)
end

due = due + interval
redis.call("SET", KEYS[3], whole(due), "PX", whole(math.ceil((due - now) / 1000) + 1))
redis.call("ZADD", prompt and KEYS[2] or KEYS[1], lease_ends, ARGV[3])
if prompt then
    redis.call("DEL", KEYS[4])
end
return 0
