#!lua flags=allow-oom
-- KEYS stream, delayed, dead; ARGV group, entry, deliveries, error, max_attempts, retry_ms.
-- Answers 'stale', 'dead', or when the next attempt is due in milliseconds.
local stream, delayed, dead = KEYS[1], KEYS[2], KEYS[3]
local group, entry = ARGV[1], ARGV[2]
local pending = redis.call('XPENDING', stream, group, entry, entry, 1)
if #pending == 0 or pending[1][4] ~= tonumber(ARGV[3]) then return 'stale' end
local found = redis.call('XRANGE', stream, entry, entry)
if #found == 0 then
  redis.call('XACK', stream, group, entry)
  return 'stale'
end

local job = {}
for n = 1, #found[1][2], 2 do job[found[1][2][n]] = found[1][2][n + 1] end
local attempt = tonumber(job.attempt) or 1
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer
if attempt >= tonumber(ARGV[5]) then
  redis.call('XADD', dead, '*', 'id', job.id, 'type', job.type, 'payload', job.payload, 'attempt', attempt,
    'error', ARGV[4], 'reason', 'attempts', 'died_at', string.format('%.0f', now))
  answer = 'dead'
else
  local due = now + tonumber(ARGV[6])
  -- `after` keeps two jobs of one id and content apart: members of a sorted set are unique.
  redis.call('ZADD', delayed, due, cmsgpack.pack({'id', job.id, 'type', job.type, 'payload', job.payload,
    'attempt', tostring(attempt + 1), 'error', ARGV[4], 'after', entry}))
  answer = string.format('%.0f', due)
end
redis.call('XACK', stream, group, entry)
redis.call('XDEL', stream, entry)
return answer
