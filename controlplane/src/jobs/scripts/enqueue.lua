-- KEYS stream, delayed; ARGV max_length, id, type, payload. Answers false when the queue is full: a job that was admitted is
-- never trimmed, so the bound has to stand here.
--
-- Streams are the operator's to make: one that was made here for a tenant that is being deleted would stay behind.
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('NOSTREAM the queue is not provisioned') end
local waiting = redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])
if waiting >= tonumber(ARGV[1]) then return false end
return redis.call('XADD', KEYS[1], '*', 'id', ARGV[2], 'type', ARGV[3], 'payload', ARGV[4], 'attempt', 1)
