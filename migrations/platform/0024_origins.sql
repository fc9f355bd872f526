-- The uid of the Tenant object that first had a tenant's data, where that is another than the one that has it now. What outlives the
-- object derives from it: authenticators, recovery codes, API keys, and where sealed secrets belong.
ALTER TABLE tenantry.tenant ADD COLUMN origin uuid;

-- The secret of an authenticator, sealed under a key that the database does not have. Absent where it still derives from the nonce.
ALTER TABLE tenantry.auth_factor ADD COLUMN sealed text;
GRANT UPDATE (sealed) ON tenantry.auth_factor TO tenantry_tenants;
-- Who moves secrets to another key, does so for all tenants at once.
GRANT UPDATE (sealed) ON tenantry.auth_factor TO tenantry_controlplane;
INSERT INTO tenantry.duty (name) VALUES ('reseal');

-- A snapshot takes second factors along, and a restore brings them back.
CREATE POLICY carry ON tenantry.auth_factor FOR SELECT TO tenantry_operator USING (true);
GRANT INSERT (role, id, nonce, sealed, confirmed_at, last_step, recovery, created_at) ON tenantry.auth_factor
    TO tenantry_provisioners;
