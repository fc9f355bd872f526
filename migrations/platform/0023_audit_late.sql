-- Tenants whose rows are not sealed as far as those of all others, because a transaction of their own login may still add some;
-- `upto` is how far they are.
CREATE TABLE tenantry.audit_late (
    role name PRIMARY KEY,
    upto bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.audit_late TO tenantry_controlplane;
