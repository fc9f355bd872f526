-- Takes up to ARGV[3] tokens of a bucket that gets one each ARGV[1] microseconds and holds ARGV[2]. The key holds when it will be
-- full again. Answers how many there were, and after how many microseconds there is the next one when there were none.
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local room = now + interval * burst - full
local granted = math.min(wanted, math.floor(room / interval))
if granted < 1 then
    return {0, math.ceil(interval - room)}
end
full = full + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return {granted, 0}
