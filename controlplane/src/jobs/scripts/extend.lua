-- KEYS stream; ARGV group, consumer, entry, deliveries. Answers when the lease began anew in milliseconds, or false when it
-- was lost. JUSTID leaves the count of deliveries, and with it the token, as it is.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 or pending[1][4] ~= tonumber(ARGV[4]) then return false end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
