-- KEYS stream, delayed, dead; ARGV group, consumer, max, lease_ms, max_deliveries, cursor.
-- Answers {now_ms, next_cursor, {{entry, deliveries, id, type, payload, attempt}...}, promoted, reclaimed, dead}.
--
-- One call brings back all that is due, so nothing has to run beside it. Each part is bounded: a long queue makes more calls,
-- never a long one.
local stream, delayed, dead = KEYS[1], KEYS[2], KEYS[3]
local group, consumer = ARGV[1], ARGV[2]
local max, lease_ms, max_deliveries = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cursor = ARGV[6]
local PROMOTE, SCAN = 100, 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Fails with NOGROUP before anything is written.
redis.call('XPENDING', stream, group)

local promoted = 0
for _, member in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, PROMOTE)) do
  local fields = cmsgpack.unpack(member)
  redis.call('XADD', stream, '*', unpack(fields))
  redis.call('ZREM', delayed, member)
  promoted = promoted + 1
end

local jobs, died = {}, 0

local function bury(entry, fields, reason)
  local letter = {}
  for _, value in ipairs(fields) do letter[#letter + 1] = value end
  letter[#letter + 1] = 'reason'
  letter[#letter + 1] = reason
  letter[#letter + 1] = 'died_at'
  letter[#letter + 1] = string.format('%.0f', now)
  redis.call('XADD', dead, '*', unpack(letter))
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
  died = died + 1
end

local function take(entry, fields, deliveries)
  local job = {}
  for n = 1, #fields, 2 do job[fields[n]] = fields[n + 1] end
  if not (job.id and job.type and job.payload and tonumber(job.attempt)) then
    return bury(entry, fields, 'unreadable')
  end
  -- Deliveries without an answer are crashes, apart from the attempts that the worker reported as failed.
  if deliveries > max_deliveries then
    return bury(entry, fields, 'crash_loop')
  end
  jobs[#jobs + 1] = {entry, deliveries, job.id, job.type, job.payload, job.attempt}
end

-- XAUTOCLAIM looks at ten times COUNT entries. The cursor goes back to the caller, since a scan that always began at the
-- start would never reach what lies behind many live leases.
local reclaimed, scanned = 0, 0
while #jobs < max and scanned < SCAN do
  local count = max - #jobs
  local claim = redis.call('XAUTOCLAIM', stream, group, consumer, lease_ms, cursor, 'COUNT', count)
  cursor = claim[1]
  for _, message in ipairs(claim[2]) do
    local entry = message[1]
    local pending = redis.call('XPENDING', stream, group, entry, entry, 1)
    reclaimed = reclaimed + 1
    take(entry, message[2], pending[1][4])
  end
  scanned = scanned + 10 * count
  if cursor == '0-0' then break end
end

if #jobs < max then
  local fresh = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', max - #jobs, 'STREAMS', stream, '>')
  if fresh then
    for _, message in ipairs(fresh[1][2]) do take(message[1], message[2], 1) end
  end
end

return {now, cursor, jobs, promoted, reclaimed, died}
