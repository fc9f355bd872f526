-- A right to UPDATE, DELETE or TRUNCATE a whole table is also the right to lock it in every mode: one tenant's transaction could keep
-- all others from signing in. UPDATE of named columns is not, and SELECT and INSERT lock no more than a write does. So no tenant
-- deletes: a row that is of no use is marked by an UPDATE, which row security checks as ever, and the worker removes it.
--
-- A one-time token is used up when it has expired, an attempt is forgiven when it has no failures. Only a factor needs a mark.
ALTER TABLE tenantry.auth_factor ADD COLUMN removed_at timestamptz;

REVOKE UPDATE, DELETE
    ON tenantry.auth_session, tenantry.auth_token, tenantry.auth_attempt, tenantry.auth_factor
    FROM tenantry_tenants;
GRANT UPDATE (generation, assurance, rotated_at, expires_at, revoked_at) ON tenantry.auth_session TO tenantry_tenants;
GRANT UPDATE (expires_at, due_at) ON tenantry.auth_token TO tenantry_tenants;
GRANT UPDATE (failures, last_at, blocked_until) ON tenantry.auth_attempt TO tenantry_tenants;
GRANT UPDATE (nonce, confirmed_at, last_step, recovery, created_at, removed_at) ON tenantry.auth_factor TO tenantry_tenants;

-- The sweep passes over rows that a tenant's transaction holds, and so has to lock the others: that needs a right to change them.
GRANT UPDATE (expires_at) ON tenantry.auth_session TO tenantry_controlplane;
GRANT UPDATE (last_at) ON tenantry.auth_attempt TO tenantry_controlplane;
GRANT UPDATE (removed_at) ON tenantry.auth_factor TO tenantry_controlplane;
GRANT UPDATE (changed_at) ON tenantry.auth_change TO tenantry_controlplane;
GRANT UPDATE (occurred_at) ON tenantry.idempotency TO tenantry_controlplane;
