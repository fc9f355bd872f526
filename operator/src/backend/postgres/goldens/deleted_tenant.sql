SELECT tenantry.fence(3);
SET LOCAL ROLE "tenant_acme_owner";
DROP SCHEMA "tenant_acme" CASCADE;
DROP OWNED BY CURRENT_USER;
RESET ROLE;
DROP ROLE IF EXISTS "tenant_acme", "tenant_acme_owner";
DELETE FROM tenantry.tenant WHERE name = 'acme' AND uid = '00000000-0000-0000-0000-000000000007';
