-- A user or an API key that was deleted and made again with its id begins anew with its versions, so they do not tell which of two
-- changes is the newer one. This does: it is drawn while the row is locked.
CREATE SEQUENCE tenantry.auth_change_revision;
ALTER TABLE tenantry.auth_change ADD COLUMN revision bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION tenantry.note_auth_change(of name, what text, at_version bigint, now_holds json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tenantry.auth_change (role, id, version, state, changed_in, revision)
    VALUES (of, what, at_version, now_holds, pg_current_xact_id(), nextval('tenantry.auth_change_revision'))
    ON CONFLICT (role, id) DO UPDATE
        SET version = excluded.version, state = excluded.state, changed_at = excluded.changed_at,
            changed_in = excluded.changed_in, revision = nextval('tenantry.auth_change_revision');
END
$$;

-- As their owner: what becomes of a user's sessions and one-time tokens does not depend on how the user was deleted.
CREATE POLICY trigger ON tenantry.auth_session TO tenantry_operator USING (true) WITH CHECK (true);
CREATE POLICY trigger ON tenantry.auth_token TO tenantry_operator USING (true) WITH CHECK (true);

CREATE OR REPLACE FUNCTION tenantry.auth_document_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    subject text := NEW.doc_type || ' ' || NEW.doc_id;
BEGIN
    -- A new one of which nobody heard before has no tokens that could be out.
    IF NEW.operation = 'Put' AND NEW.doc_version = 1
        AND NOT EXISTS (SELECT FROM tenantry.auth_change c WHERE c.role = NEW.role AND c.id = subject) THEN
        RETURN NULL;
    END IF;
    PERFORM tenantry.note_auth_change(
        NEW.role, subject, NEW.doc_version,
        CASE WHEN NEW.operation = 'Put' THEN json_build_object(
            'roles', NEW.body -> 'roles', 'enabled', NEW.body -> 'enabled', 'claims', NEW.body -> 'claims') END);
    -- Whoever gets the id next is somebody else. What ends with a user is what opens something: the notice that tells the address of
    -- the deletion goes on its way.
    IF NEW.operation = 'Delete' AND NEW.doc_type = 'user' THEN
        UPDATE tenantry.auth_session SET revoked_at = now()
            WHERE role = NEW.role AND user_id = NEW.doc_id::uuid AND revoked_at IS NULL;
        UPDATE tenantry.auth_token SET expires_at = least(expires_at, now()), due_at = NULL
            WHERE role = NEW.role AND user_id = NEW.doc_id::uuid AND kind <> 'Notice' AND expires_at > now();
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER auth_document_changed AFTER INSERT ON tenantry.outbox FOR EACH ROW
    WHEN (NEW.app = 'core' AND NEW.doc_type IN ('user', 'api_key'))
    EXECUTE FUNCTION tenantry.auth_document_changed();

-- A reference to a document that its writer may not read is refused like one to a document that does not exist.
CREATE FUNCTION tenantry.no_document(relation text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a document that is referred to does not exist' USING ERRCODE = 'foreign_key_violation', CONSTRAINT = relation;
END
$$;
REVOKE ALL ON FUNCTION tenantry.no_document(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.no_document(text) TO tenantry_tenants;
