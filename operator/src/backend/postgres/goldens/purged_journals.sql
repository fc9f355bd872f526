SELECT tenantry.fence(3);
DELETE FROM tenantry.outbox WHERE role = 'tenant_acme' AND id <= coalesce((SELECT id FROM tenantry.outbox WHERE role = 'tenant_acme' ORDER BY id OFFSET 20000 LIMIT 1), 9223372036854775807);
DELETE FROM tenantry.audit WHERE role = 'tenant_acme' AND id <= coalesce((SELECT id FROM tenantry.audit WHERE role = 'tenant_acme' ORDER BY id OFFSET 20000 LIMIT 1), 9223372036854775807);
DELETE FROM tenantry.audit_seal WHERE role = 'tenant_acme' AND seal <= coalesce((SELECT seal FROM tenantry.audit_seal WHERE role = 'tenant_acme' ORDER BY seal OFFSET 20000 LIMIT 1), 9223372036854775807);
DELETE FROM tenantry.audit_head WHERE role = 'tenant_acme';
DELETE FROM tenantry.idempotency WHERE role = 'tenant_acme' AND id IN (SELECT id FROM tenantry.idempotency WHERE role = 'tenant_acme' LIMIT 20000);
