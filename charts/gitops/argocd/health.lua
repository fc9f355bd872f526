-- Health of Tenants, Apps and SearchIndexes for Argo CD, by the rules of kstatus.
local progressing = { status = "Progressing", message = "Waiting for the operator" }
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return progressing
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end
local function said(kind)
  return found[kind].reason .. ": " .. found[kind].message
end
if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = found.Ready ~= nil and said("Ready") or "Deleting" }
end
if holds("Stalled") then
  return { status = "Degraded", message = said("Stalled") }
end
if holds("Reconciling") then
  return { status = "Progressing", message = said("Reconciling") }
end
if found.Ready ~= nil and found.Ready.status == "Unknown" then
  return { status = "Suspended", message = said("Ready") }
end
if holds("Ready") then
  return { status = "Healthy", message = found.Ready.message }
end
if found.Ready ~= nil then
  progressing.message = said("Ready")
end
return progressing
