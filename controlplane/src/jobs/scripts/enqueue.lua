-- KEYS stream, delayed; ARGV max_length, id, type, payload. Answers false when the queue is full: a job that was admitted is
-- never trimmed, so the bound has to stand here.
local waiting = redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])
if waiting >= tonumber(ARGV[1]) then return false end
return redis.call('XADD', KEYS[1], '*', 'id', ARGV[2], 'type', ARGV[3], 'payload', ARGV[4], 'attempt', 1)
