-- KEYS stream, delayed, dead; ARGV group. Answers {waiting, leased, delayed, dead}.
local entries = redis.call('XLEN', KEYS[1])
local leased = 0
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if not pending.err then leased = pending[1] end
return {entries - leased, leased, redis.call('ZCARD', KEYS[2]), redis.call('XLEN', KEYS[3])}
