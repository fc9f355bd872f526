-- Takes up to ARGV[3] tokens of a bucket that gets one each ARGV[1] microseconds and holds ARGV[2]. The key holds when it will be
-- full again. Answers how many there were, and after how many microseconds there is the next one when there were none.
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept, empty = tonumber(redis.call('GET', KEYS[1]) or 0), now + interval * burst
-- No bucket is further from full than an empty one: where the clock was set back, or another server's is behind, it is just empty.
local full = math.min(math.max(kept, now), empty)
local granted = math.min(wanted, math.floor((empty - full) / interval))
if granted >= 1 then
    full = full + granted * interval
end
if granted >= 1 or kept > empty then
    redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
end
if granted < 1 then
    return {0, math.ceil(interval - (empty - full))}
end
return {granted, 0}
