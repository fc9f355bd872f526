-- Every access role is a member: one grant on the database instead of one for each login, which its row could not hold.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantry_access') THEN
        CREATE ROLE tenantry_access NOLOGIN;
    END IF;
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO tenantry_access', pg_catalog.current_database());
END
$$;

-- Credentials of direct access, one row for each backend of an access. A row is written before the login and the Secret:
-- whatever a crash leaves, the next pass knows which password counts.
CREATE TABLE tenantry.access (
    tenant text NOT NULL REFERENCES tenantry.tenant ON DELETE CASCADE,
    access text NOT NULL,
    backend text NOT NULL CHECK (backend IN ('Postgres', 'Redis', 'Search')),
    level text NOT NULL CHECK (level IN ('Read', 'Write', 'Owner')),
    -- The Secret that is claimed; empty while the access moves to another one.
    secret_namespace text,
    secret_name text,
    -- Counts the credentials. Odd ones have the first login, even ones the second.
    serial bigint NOT NULL CHECK (serial > 0),
    -- SHA-256 of the password, which is 256 random bits or the engine's own key: it can be compared, and not guessed.
    digest text NOT NULL,
    -- New: a new serial, of which the backend may not know yet. Renewed: the same login with another password, likewise.
    state text NOT NULL CHECK (state IN ('New', 'Renewed', 'Applied')),
    -- The annotation tenantry.dev/rotate that was acted on last.
    handled_rotate text,
    rotated_at timestamptz NOT NULL DEFAULT now(),
    -- Until when the credentials before these still work; empty when they are gone.
    previous_until timestamptz,
    PRIMARY KEY (tenant, access, backend),
    CONSTRAINT access_secret_key UNIQUE (secret_namespace, secret_name),
    CHECK ((secret_namespace IS NULL) = (secret_name IS NULL))
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.access TO tenantry_provisioners;
