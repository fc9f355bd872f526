-- By which login a tenant is served: `Shared` by that of its shard, `Dedicated` by one that is a member of this tenant's role alone.
-- The operator writes it beside the memberships, in the same transaction.
ALTER TABLE tenantry.tenant ADD COLUMN connections text NOT NULL DEFAULT 'Shared'
    CHECK (connections IN ('Shared', 'Dedicated'));
