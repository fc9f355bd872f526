-- Journals are shared by all tenants. Row security compares the row's role with current_user, so nothing that a request
-- carries can choose the tenant.

CREATE SEQUENCE tenantry.outbox_id;
CREATE TABLE tenantry.outbox (
    id bigint NOT NULL DEFAULT nextval('tenantry.outbox_id'),
    role name NOT NULL DEFAULT current_user,
    app text NOT NULL,
    doc_type text NOT NULL,
    doc_id text NOT NULL,
    doc_version bigint NOT NULL,
    operation text NOT NULL CHECK (operation IN ('Put', 'Delete')),
    -- What a reader may see of the document; absent for Delete.
    body json,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

CREATE SEQUENCE tenantry.audit_id;
CREATE TABLE tenantry.audit (
    id bigint NOT NULL DEFAULT nextval('tenantry.audit_id'),
    role name NOT NULL DEFAULT current_user,
    actor text NOT NULL,
    action text NOT NULL CHECK (action IN ('Create', 'Update', 'Delete')),
    app text NOT NULL,
    doc_type text NOT NULL,
    doc_id text NOT NULL,
    doc_version bigint NOT NULL,
    request_id text NOT NULL,
    client text,
    changes json,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

DO $$
BEGIN
    FOR n IN 0..7 LOOP
        EXECUTE pg_catalog.format(
            'CREATE TABLE tenantry.outbox_%s PARTITION OF tenantry.outbox FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
        EXECUTE pg_catalog.format(
            'CREATE TABLE tenantry.audit_%s PARTITION OF tenantry.audit FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
        -- Reached through the parent only: no grants here, and forced row security should a grant ever appear.
        EXECUTE pg_catalog.format('ALTER TABLE tenantry.outbox_%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', n);
        EXECUTE pg_catalog.format('ALTER TABLE tenantry.audit_%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', n);
    END LOOP;
END
$$;

ALTER TABLE tenantry.outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.audit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY own_rows ON tenantry.outbox FOR INSERT TO tenantry_tenants WITH CHECK (role = current_user);
CREATE POLICY drain ON tenantry.outbox TO tenantry_controlplane USING (true);
CREATE POLICY purge ON tenantry.outbox TO tenantry_provisioners USING (true);

CREATE POLICY own_rows ON tenantry.audit FOR INSERT TO tenantry_tenants WITH CHECK (role = current_user);
CREATE POLICY own_history ON tenantry.audit FOR SELECT TO tenantry_tenants USING (role = current_user);
CREATE POLICY history ON tenantry.audit FOR SELECT TO tenantry_controlplane USING (true);
CREATE POLICY purge ON tenantry.audit TO tenantry_provisioners USING (true);

GRANT USAGE ON SEQUENCE tenantry.outbox_id, tenantry.audit_id TO tenantry_tenants;
GRANT INSERT ON tenantry.outbox TO tenantry_tenants;
GRANT INSERT, SELECT ON tenantry.audit TO tenantry_tenants;
GRANT SELECT, DELETE ON tenantry.outbox TO tenantry_controlplane;
GRANT SELECT ON tenantry.audit TO tenantry_controlplane;
GRANT SELECT (role), DELETE ON tenantry.outbox, tenantry.audit TO tenantry_provisioners;
