#!lua flags=allow-oom
-- KEYS stream; ARGV group, entry, deliveries. Answers whether the lease was held. Works without memory to spare: it is what
-- frees some.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if #pending == 0 or pending[1][4] ~= tonumber(ARGV[3]) then return 0 end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
