-- A tenant's journals are purged in batches by the range of their ids: one DELETE of millions of rows would outlast every
-- timeout and hold the fence meanwhile.
GRANT SELECT (id) ON tenantry.outbox, tenantry.audit TO tenantry_provisioners;
