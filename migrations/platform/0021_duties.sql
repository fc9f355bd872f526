-- What one process at a time does. Advisory locks belong to everybody who can log in, this table to the control plane alone.
CREATE TABLE tenantry.duty (
    name text PRIMARY KEY,
    -- Counts the terms. What a holder writes is checked against it.
    epoch bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    -- By this server's clock. A holder that is not heard of until then has lost the duty.
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO tenantry.duty (name) VALUES ('index'), ('seal'), ('sweep');
GRANT SELECT, UPDATE (epoch, holder, expires_at) ON tenantry.duty TO tenantry_controlplane;

-- The claim of a key is a row of the tenant's own, part -1 of its answers, which the transaction holds until its end. Another
-- transaction with the key waits for a millisecond, the shortest time that there is, and is told that the first is on its way.
GRANT UPDATE (occurred_at) ON tenantry.idempotency TO tenantry_tenants;
CREATE POLICY own_claims ON tenantry.idempotency FOR UPDATE TO tenantry_tenants
    USING (role = current_user) WITH CHECK (role = current_user);

CREATE OR REPLACE FUNCTION tenantry.claim_key(key text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms'
AS $$
BEGIN
    INSERT INTO tenantry.idempotency (id, part, asked, answer) VALUES (key, -1, '', '[]')
        ON CONFLICT (role, id, part) DO UPDATE SET occurred_at = excluded.occurred_at;
    IF EXISTS (SELECT FROM tenantry.idempotency WHERE role = current_user AND id = key AND part >= 0) THEN
        RAISE EXCEPTION 'a request with this key has its answer' USING ERRCODE = 'TN004';
    END IF;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'a request with this key is on its way' USING ERRCODE = 'TN003';
END
$$;
