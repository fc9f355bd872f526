-- Who may sign in to a tenant, as the control plane follows it.
ALTER TABLE tenantry.tenant ADD COLUMN auth jsonb NOT NULL DEFAULT '{}';

-- Sessions: a family of refresh tokens is one row. The tokens themselves are derived from the row's id and generation with a
-- key that the database does not have, so nothing here opens anything.
CREATE TABLE tenantry.auth_session (
    id uuid NOT NULL,
    role name NOT NULL DEFAULT current_user,
    user_id uuid NOT NULL,
    -- Counts the refreshes. The token of this generation is the one that may be used.
    generation integer NOT NULL DEFAULT 1,
    -- 1: a password. 2: a second factor as well.
    assurance smallint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    rotated_at timestamptz NOT NULL DEFAULT now(),
    -- When it ends unless it is refreshed, and when it ends in any case.
    expires_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    revoked_at timestamptz,
    client text,
    agent text,
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

-- One-time tokens: to verify an address, to reset a password, to accept an invitation. Derived likewise; a row is the right to
-- use one once. A row that is due is handed to the tenant's webhook by the worker.
CREATE TABLE tenantry.auth_token (
    id uuid NOT NULL,
    role name NOT NULL DEFAULT current_user,
    kind text NOT NULL CHECK (kind IN ('Verify', 'Recover', 'Invite', 'ChangeEmail')),
    user_id uuid NOT NULL,
    email text NOT NULL,
    redirect_to text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    -- When to hand it to the webhook; absent once that is done or given up.
    due_at timestamptz,
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

-- Failed attempts by account and by address, each as a keyed digest.
CREATE TABLE tenantry.auth_attempt (
    id text NOT NULL,
    role name NOT NULL DEFAULT current_user,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    blocked_until timestamptz,
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

-- Second factors, by user. The secret of the authenticator is derived from the row's nonce.
CREATE TABLE tenantry.auth_factor (
    id uuid NOT NULL,
    role name NOT NULL DEFAULT current_user,
    nonce uuid NOT NULL,
    -- Absent until the user has shown a first code.
    confirmed_at timestamptz,
    -- The step of the last code: none is accepted twice.
    last_step bigint NOT NULL DEFAULT 0,
    -- Keyed digests of the recovery codes that are left.
    recovery text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

-- What became of users, API keys and sessions lately: tokens that were issued before are held against it. Written by triggers
-- only, so no way to change a user can forget it; old rows go, because tokens from before them have expired.
CREATE TABLE tenantry.auth_change (
    -- `user ID`, `api_key ID` or `session ID`.
    id text NOT NULL,
    role name NOT NULL,
    version bigint NOT NULL,
    -- What holds from now on; absent when it is gone.
    state json,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, id)
) PARTITION BY HASH (role);

DO $$
DECLARE
    journal text;
BEGIN
    FOREACH journal IN ARRAY ARRAY['auth_session', 'auth_token', 'auth_attempt', 'auth_factor', 'auth_change'] LOOP
        FOR n IN 0..7 LOOP
            -- Rows are changed in place far more often than they are made: room for that keeps the indexes out of it.
            EXECUTE pg_catalog.format(
                'CREATE TABLE tenantry.%1$s_%2$s PARTITION OF tenantry.%1$s '
                'FOR VALUES WITH (MODULUS 8, REMAINDER %2$s) WITH (fillfactor = 70)', journal, n);
            EXECUTE pg_catalog.format(
                'ALTER TABLE tenantry.%s_%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', journal, n);
        END LOOP;
        EXECUTE pg_catalog.format(
            'ALTER TABLE tenantry.%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', journal);
        EXECUTE pg_catalog.format('CREATE POLICY purge ON tenantry.%s TO tenantry_provisioners USING (true)', journal);
        EXECUTE pg_catalog.format('CREATE POLICY sweep ON tenantry.%s TO tenantry_controlplane USING (true)', journal);
        EXECUTE pg_catalog.format('GRANT SELECT (role, id), DELETE ON tenantry.%s TO tenantry_provisioners', journal);
        EXECUTE pg_catalog.format('GRANT SELECT, DELETE ON tenantry.%s TO tenantry_controlplane', journal);
    END LOOP;
    FOREACH journal IN ARRAY ARRAY['auth_session', 'auth_token', 'auth_attempt', 'auth_factor'] LOOP
        EXECUTE pg_catalog.format(
            'CREATE POLICY own_rows ON tenantry.%s TO tenantry_tenants '
            'USING (role = current_user) WITH CHECK (role = current_user)', journal);
        EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.%s TO tenantry_tenants', journal);
    END LOOP;
END
$$;
GRANT UPDATE (due_at, attempts) ON tenantry.auth_token TO tenantry_controlplane;

CREATE INDEX auth_session_user ON tenantry.auth_session (role, user_id);
CREATE INDEX auth_token_user ON tenantry.auth_token (role, user_id);
CREATE INDEX auth_token_due ON tenantry.auth_token (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX auth_change_recent ON tenantry.auth_change (changed_at);

-- As its owner, because no tenant may write what its own tokens are held against. The row's role is the tenant's: row security
-- has checked it for the row that fires this.
CREATE POLICY trigger ON tenantry.auth_change TO tenantry_operator USING (true) WITH CHECK (true);

CREATE FUNCTION tenantry.note_auth_change(of name, what text, at_version bigint, now_holds json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tenantry.auth_change (role, id, version, state) VALUES (of, what, at_version, now_holds)
    ON CONFLICT (role, id) DO UPDATE
        SET version = excluded.version, state = excluded.state, changed_at = excluded.changed_at;
    PERFORM pg_catalog.pg_notify('tenantry_auth', of::text || ' ' || what);
END
$$;
REVOKE ALL ON FUNCTION tenantry.note_auth_change(name, text, bigint, json) FROM PUBLIC;

CREATE FUNCTION tenantry.auth_document_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tenantry.note_auth_change(
        NEW.role, NEW.doc_type || ' ' || NEW.doc_id, NEW.doc_version,
        CASE WHEN NEW.operation = 'Put' THEN json_build_object(
            'roles', NEW.body -> 'roles', 'enabled', NEW.body -> 'enabled', 'claims', NEW.body -> 'claims') END);
    RETURN NULL;
END
$$;
-- Every write of a document passes through the outbox. The condition is all that other documents pay.
CREATE TRIGGER auth_document_changed AFTER INSERT ON tenantry.outbox FOR EACH ROW
    WHEN (NEW.app = 'core' AND NEW.doc_type IN ('user', 'api_key') AND (NEW.operation = 'Delete' OR NEW.doc_version > 1))
    EXECUTE FUNCTION tenantry.auth_document_changed();

CREATE FUNCTION tenantry.auth_session_ended() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tenantry.note_auth_change(NEW.role, 'session ' || NEW.id::text, 1, NULL);
    RETURN NULL;
END
$$;
CREATE TRIGGER auth_session_ended AFTER UPDATE ON tenantry.auth_session FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
    EXECUTE FUNCTION tenantry.auth_session_ended();
