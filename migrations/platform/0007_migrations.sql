-- What a login needs that exists only while one tenant's tables are changed: to connect, and nothing else. Such a login is a
-- member of this group and of the tenant's owner role, so whatever an app's SQL does in its session, it stays the tenant's.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantry_migrators') THEN
        CREATE ROLE tenantry_migrators NOLOGIN;
    END IF;
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO tenantry_migrators', pg_catalog.current_database());
END
$$;

-- The migrations of apps, per tenant. A row is written before the SQL runs and holds the transaction that it runs in; whether
-- that one was committed, Postgres knows after any crash (pg_xact_status). The SQL itself can reach neither.
CREATE TABLE tenantry.tenant_migration (
    tenant text NOT NULL REFERENCES tenantry.tenant ON DELETE CASCADE,
    app text NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    -- Absent when the migration was taken as run: its effects came with the tables.
    transaction xid8,
    begun_at timestamptz NOT NULL DEFAULT now(),
    -- Absent until the transaction is known to be committed.
    ran_at timestamptz,
    PRIMARY KEY (tenant, app, name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.tenant_migration TO tenantry_provisioners;
