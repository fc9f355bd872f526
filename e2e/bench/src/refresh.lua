-- Goes on with sessions. A refresh token is used once, and its successor comes with the answer, so sessions wait in a queue:
-- a request takes the one that has waited longest, its answer puts the session back with its newest token.

dofile((debug.getinfo(1, "S").source:sub(2):gsub("refresh%.lua$", "load.lua")))

local prepare = init
local sessions, first, last, told = {}, 1, 0, false

local function put(tenant, token)
  last = last + 1
  sessions[last] = { tenant, token }
end

function init(args)
  local file = args[1]
  args[1] = "/dev/null"
  prepare(args)
  for _, _, token, tenant in lines(file) do put(tenant, token) end
end

function request()
  local session = sessions[first]
  if not session then error("every session waits for an answer") end
  sessions[first] = nil
  first = first + 1
  return wrk.format("POST", "/api/v1/auth/token",
    { ["X-Tenant"] = session[1], ["Content-Type"] = "application/json" },
    '{"grant_type":"refresh_token","refresh_token":"' .. session[2] .. '"}')
end

function response(status, headers, body)
  -- The address of the user names the tenant.
  local tenant = body:match('"email":"[^"@]*@([^"]*)%.example"')
  local token = body:match('"refresh_token":"([^"]*)"')
  if status == 200 and tenant and token then
    put(tenant, token)
  elseif not told then
    told = true
    io.stderr:write("answered with ", status, ": ", body, "\n")
  end
end
