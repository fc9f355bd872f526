-- The origins whose pages may call a tenant.
ALTER TABLE tenantry.tenant ADD COLUMN cors jsonb NOT NULL DEFAULT '{}';

-- Which trace a change belongs to, for whoever acts on its event.
ALTER TABLE tenantry.outbox ADD COLUMN traceparent text;
