-- Enqueues messages where dramatiq looks for them, and says which queues have some.
-- KEYS: dramatiq's namespace. ARGV: the channel to say it on; then six for each message: a mark or '', how long it is
-- set for in ms, the queue whose consumers are to wake, the queue it goes to, its id, itself.
-- A message whose mark stands already is left aside: another for the same work waits.

local namespace, channel = KEYS[1], ARGV[1]
local woken = {}

for first = 2, #ARGV, 6 do
    local mark, mark_ms, wakes, queue, id, message = unpack(ARGV, first, first + 5)
    if mark == '' or redis.call('SET', mark, '1', 'NX', 'PX', mark_ms) then
        redis.call('HSET', namespace .. ':' .. queue .. '.msgs', id, message)
        redis.call('RPUSH', namespace .. ':' .. queue, id)
        woken[wakes] = true
    end
end

for queue in pairs(woken) do
    redis.call('PUBLISH', channel, queue)
end
