-- Requests come ready-made from a file, one a line: METHOD, path, token, tenant, body, separated by tabs. Building them
-- before the run keeps the generator cheap: it shares the cores with what it measures.

local requests, pause = {}, 0

-- Fields of each line of the file.
function lines(file)
  local next = io.lines(file)
  return function()
    local line = next()
    if line then return line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$") end
  end
end

function init(args)
  pause = tonumber(args[2])
  for method, path, token, tenant, body in lines(args[1]) do
    local headers = { ["X-Tenant"] = tenant }
    if token ~= "" then headers["Authorization"] = "Bearer " .. token end
    if body == "" then
      body = nil
    else
      headers["Content-Type"] = "application/json"
    end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  math.randomseed(os.time())
end

function request()
  return requests[math.random(#requests)]
end

function delay()
  -- Spread around the mean, so that connections do not fire together.
  if pause == 0 then return 0 end
  return math.random(0, 2 * pause)
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format('RESULT {"requests":%d,"micros":%d,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
