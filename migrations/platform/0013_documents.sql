-- Several writes of a request happen together: one that meets no document, or would make one that its writer may not make, ends
-- them all. An error is the only way to say so from inside of a transaction that is on its way to its COMMIT already.
CREATE FUNCTION tenantry.required(met boolean) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF met IS NOT TRUE THEN
        RAISE EXCEPTION 'a write met no document' USING ERRCODE = 'TN002';
    END IF;
    RETURN true;
END
$$;

-- Answers of writes, kept under the caller's Idempotency-Key in the transaction of the write itself: whoever sends the request
-- again gets the answer and no second write.
CREATE TABLE tenantry.idempotency (
    role name NOT NULL DEFAULT current_user,
    -- SHA-256 of the caller, the route and the key.
    id text NOT NULL,
    -- Which of the answers, where a request has several.
    part smallint NOT NULL,
    -- SHA-256 of what was asked: another request under the same key gets no answer.
    asked text NOT NULL,
    -- The rows of the answer, each a list of texts.
    answer json NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, id, part)
) PARTITION BY HASH (role);

DO $$
BEGIN
    FOR n IN 0..7 LOOP
        EXECUTE pg_catalog.format(
            'CREATE TABLE tenantry.idempotency_%s PARTITION OF tenantry.idempotency '
            'FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
        EXECUTE pg_catalog.format(
            'ALTER TABLE tenantry.idempotency_%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', n);
    END LOOP;
END
$$;
ALTER TABLE tenantry.idempotency ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- What the sweep looks for.
CREATE INDEX idempotency_occurred ON tenantry.idempotency (occurred_at);

CREATE POLICY own_rows ON tenantry.idempotency FOR INSERT TO tenantry_tenants WITH CHECK (role = current_user);
CREATE POLICY own_answers ON tenantry.idempotency FOR SELECT TO tenantry_tenants USING (role = current_user);
CREATE POLICY sweep ON tenantry.idempotency TO tenantry_controlplane USING (true);
CREATE POLICY purge ON tenantry.idempotency TO tenantry_provisioners USING (true);
GRANT INSERT, SELECT ON tenantry.idempotency TO tenantry_tenants;
GRANT SELECT, DELETE ON tenantry.idempotency TO tenantry_controlplane;
GRANT SELECT (role, id), DELETE ON tenantry.idempotency TO tenantry_provisioners;

-- The first statement of a write with a key. The lock is the transaction's, so a write that is still on its way has it.
CREATE FUNCTION tenantry.claim_key(key text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(current_user || ' ' || key, 0)) THEN
        RAISE EXCEPTION 'a request with this key is on its way' USING ERRCODE = 'TN003';
    END IF;
    IF EXISTS (SELECT FROM tenantry.idempotency WHERE role = current_user AND id = key) THEN
        RAISE EXCEPTION 'a request with this key has its answer' USING ERRCODE = 'TN004';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION tenantry.required(boolean), tenantry.claim_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.required(boolean), tenantry.claim_key(text) TO tenantry_tenants;
